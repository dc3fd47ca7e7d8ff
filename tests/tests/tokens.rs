//! Tokens: every place they may stand in, everything that makes one bad, and what becomes of a connection when they end.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use herald_tests::{
    client::{Client, Dialect, Upgrade},
    eventually,
    gateway::{Config, SECRET, dev_gateway, file},
    http,
    process::Node,
    token,
};
use serde_json::{Value, json};

const OTHER_SECRET: &str = "the-secret-of-the-key-with-an-id-0123456789";

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

/// Every native upgrade succeeds; what the token was worth comes after it.
async fn open(upgrade: Upgrade) -> Client {
    upgrade.open().await.expect("an upgrade").0
}

async fn closes_4100(gateway: &Node, token: &str, why: &str) {
    let mut client = open(Upgrade::to(gateway.public()).header("Authorization", &format!("Bearer {token}"))).await;
    assert_eq!(client.closed().await, 4100, "{why}");
}

async fn connects(gateway: &Node, token: &str) -> Client {
    Upgrade::to(gateway.public())
        .header("Authorization", &format!("Bearer {token}"))
        .connect()
        .await
}

#[tokio::test]
async fn a_token_is_taken_from_each_place() {
    let gateway = Config::default().start().await;
    for dialect in Dialect::BOTH {
        let upgrade = || Upgrade::to(gateway.public()).dialect(dialect);
        let bearer = format!("Bearer {}", good("header"));
        let cookie = format!("theme=dark; token={}; lang=en", good("cookie"));
        for (place, upgrade) in [
            ("header", upgrade().header("Authorization", &bearer)),
            ("query", upgrade().query("v", "1").query("token", &good("query"))),
            ("cookie", upgrade().header("Cookie", &cookie)),
        ] {
            let client = upgrade.connect().await;
            assert_eq!(client.connected["user"], place);
            assert_eq!(client.connected.get("id"), None, "no frame asked");
        }
        let mut client = open(upgrade()).await;
        let answer = client.command(json!({"connect": {"token": good("frame")}})).await;
        assert_eq!(answer["connected"]["user"], "frame", "{answer}");
    }
}

#[tokio::test]
async fn a_token_as_subprotocol_is_not_echoed() {
    let gateway = Config::default().start().await;
    for dialect in Dialect::BOTH {
        let name = dialect.subprotocol();
        let bearer = format!("bearer.{}", good("alice"));
        for offer in [format!("{name}, {bearer}"), format!("{bearer}, {name}")] {
            let upgrade = Upgrade::to(gateway.public())
                .dialect(dialect)
                .header("Sec-WebSocket-Protocol", &offer);
            let (mut client, chosen) = upgrade.open().await.expect("an upgrade");
            assert_eq!(chosen.as_deref(), Some(name));
            assert_eq!(client.next("connected").await["user"], "alice");
        }
    }
}

#[tokio::test]
async fn the_first_source_present_decides() {
    let gateway = Config::default().start().await;
    let upgrade = || Upgrade::to(gateway.public());
    let bearer = |token: &str| format!("Bearer {token}");
    let cookie = format!("token={}", good("cookie"));
    let offer = format!("herald.v1.json, bearer.{}", good("subprotocol"));
    let all = upgrade()
        .header("Cookie", &cookie)
        .header("Sec-WebSocket-Protocol", &offer)
        .query("token", &good("query"))
        .header("Authorization", &bearer(&good("header")));
    assert_eq!(all.connect().await.connected["user"], "header");
    let query_first = upgrade()
        .header("Cookie", &cookie)
        .header("Sec-WebSocket-Protocol", &offer)
        .query("token", &good("query"));
    assert_eq!(query_first.connect().await.connected["user"], "query");
    let subprotocol_first = upgrade()
        .header("Cookie", &cookie)
        .header("Sec-WebSocket-Protocol", &offer);
    assert_eq!(subprotocol_first.connect().await.connected["user"], "subprotocol");

    // A bad token in the first source is not made good by a second source.
    let bad_first = upgrade()
        .header("Authorization", &bearer("nonsense"))
        .query("token", &good("query"));
    assert_eq!(open(bad_first).await.closed().await, 4100);
}

#[tokio::test]
async fn every_bad_token_closes_with_4100_and_hurts_nobody() {
    let gateway = Config::default().start().await;
    let mut neighbour = connects(&gateway, &good("neighbour")).await;
    let claims = |more: Value| token::merged(token::claims("alice"), &more);
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let with_header =
        |more: Value| token::signed(&token::merged(header.clone(), &more), SECRET, &token::claims("alice"));
    let now = token::now();
    let fine = good("alice");
    let (message, signature) = fine.rsplit_once('.').unwrap();
    let forged_claims = URL_SAFE_NO_PAD.encode(claims(json!({"sub": "root"})).to_string());
    let forged = format!("{}.{forged_claims}.{signature}", fine.split_once('.').unwrap().0);
    let none = token::unsigned(&json!({"alg": "none"}), &token::claims("alice"));

    for (why, bad) in [
        ("no token at all", "garbage".to_owned()),
        ("an empty signature", format!("{message}.")),
        ("no signature", message.to_owned()),
        ("claims of another", forged),
        ("algorithm none", format!("{none}.")),
        ("algorithm none without the dot", none),
        ("algorithm None, with a signature", with_header(json!({"alg": "None"}))),
        ("another algorithm than the key's", with_header(json!({"alg": "HS512"}))),
        (
            "another secret",
            token::hs256("quite-another-secret-0123456789abcdef", &token::claims("alice")),
        ),
        ("the development key", token::dev("alice")),
        ("expired", token::hs256(SECRET, &claims(json!({"exp": now - 60})))),
        ("no exp", token::hs256(SECRET, &claims(json!({"exp": null})))),
        (
            "exp that is no number",
            token::hs256(SECRET, &claims(json!({"exp": "never"}))),
        ),
        ("not yet", token::hs256(SECRET, &claims(json!({"nbf": now + 600})))),
        ("crit", with_header(json!({"crit": ["exp"]}))),
        ("a key that nobody knows", with_header(json!({"kid": "k9"}))),
        ("no sub", token::hs256(SECRET, &claims(json!({"sub": null})))),
        ("an empty sub", token::hs256(SECRET, &claims(json!({"sub": ""})))),
        (
            "a sub of 129 bytes",
            token::hs256(SECRET, &claims(json!({"sub": "x".repeat(129)}))),
        ),
        (
            "a control character in sub",
            token::hs256(SECRET, &claims(json!({"sub": "a\nb"}))),
        ),
        ("sub is a number", token::hs256(SECRET, &claims(json!({"sub": 7})))),
        (
            "more than 4 KiB",
            token::hs256(SECRET, &claims(json!({"padding": "x".repeat(4000)}))),
        ),
    ] {
        closes_4100(&gateway, &bad, why).await;
        let mut client = open(Upgrade::to(gateway.public())).await;
        client.send(&json!({"id": 1, "connect": {"token": bad}})).await;
        assert_eq!(client.closed().await, 4100, "{why}, in the first frame");
    }
    neighbour.ask(json!({"ping": {}}), "pong").await;
}

#[tokio::test]
async fn jku_jwk_and_x5u_are_ignored() {
    let gateway = Config::default().start().await;
    for more in [
        json!({"jku": "http://127.0.0.1:1/keys"}),
        json!({"jwk": token::ed25519_jwk("x")}),
        json!({"x5u": "http://127.0.0.1:1/cert"}),
    ] {
        let header = token::merged(json!({"alg": "HS256"}), &more);
        let good = token::signed(&header, SECRET, &token::claims("alice"));
        assert_eq!(connects(&gateway, &good).await.connected["user"], "alice");
        let own_key = token::signed(&header, "the-attacker's-own-secret-0123456789", &token::claims("alice"));
        closes_4100(&gateway, &own_key, "signed with a key of its own choice").await;
    }
}

#[tokio::test]
async fn a_key_with_an_id_meets_only_tokens_with_that_id() {
    let keys = format!("[[auth.keys]]\nkid = \"k1\"\nalgorithm = \"HS256\"\nsecret = \"{OTHER_SECRET}\"\n");
    let gateway = Config {
        keys,
        ..Config::default()
    }
    .start()
    .await;
    let claims = token::claims("alice");
    connects(&gateway, &token::hs256(SECRET, &claims)).await;
    connects(&gateway, &token::hs256_with_kid("k1", OTHER_SECRET, &claims)).await;
    closes_4100(&gateway, &token::hs256(OTHER_SECRET, &claims), "k1's secret, no kid").await;
    closes_4100(
        &gateway,
        &token::hs256_with_kid("k1", SECRET, &claims),
        "k1, another secret",
    )
    .await;
    closes_4100(&gateway, &token::hs256_with_kid("k2", SECRET, &claims), "no such kid").await;
}

#[tokio::test]
async fn public_keys_come_from_pem_and_jwks_files_and_never_serve_as_secrets() {
    let pem = file(&token::ed25519_pem());
    let jwks = file(&json!({"keys": [token::ed25519_jwk("e1")]}).to_string());
    let secret = file(OTHER_SECRET);
    let keys = format!(
        "[[auth.keys]]\nalgorithm = \"EdDSA\"\npublic_key_file = {:?}\n\
         [[auth.keys]]\njwks_file = {:?}\n\
         [[auth.keys]]\nkid = \"s1\"\nalgorithm = \"HS256\"\nsecret_file = {:?}\n",
        pem.path(),
        jwks.path(),
        secret.path()
    );
    let gateway = Config {
        keys,
        ..Config::default()
    }
    .start()
    .await;
    let claims = token::claims("alice");
    connects(&gateway, &token::ed25519(&json!({"alg": "EdDSA"}), &claims)).await;
    connects(
        &gateway,
        &token::ed25519(&json!({"alg": "EdDSA", "kid": "e1"}), &claims),
    )
    .await;
    connects(&gateway, &token::hs256_with_kid("s1", OTHER_SECRET, &claims)).await;
    connects(&gateway, &token::hs256(SECRET, &claims)).await;
    closes_4100(
        &gateway,
        &token::ed25519(&json!({"alg": "EdDSA", "kid": "e2"}), &claims),
        "no such kid",
    )
    .await;
    // The old confusion: the public key's text as an HMAC secret.
    closes_4100(
        &gateway,
        &token::hs256(&token::ed25519_pem(), &claims),
        "PEM as a secret",
    )
    .await;
    closes_4100(
        &gateway,
        &token::hs256(token::ed25519_pem().trim_end(), &claims),
        "PEM as a secret",
    )
    .await;
}

#[tokio::test]
async fn audience_and_issuer_are_checked_as_configured() {
    let auth = "audience = \"herald\"\nissuer = \"https://app.example\"";
    let gateway = Config {
        auth: auth.into(),
        ..Config::default()
    }
    .start()
    .await;
    let token = |more: Value| token::hs256(SECRET, &token::merged(token::claims("alice"), &more));
    let both = json!({"aud": "herald", "iss": "https://app.example"});
    connects(&gateway, &token(both.clone())).await;
    connects(
        &gateway,
        &token(token::merged(both.clone(), &json!({"aud": ["other", "herald"]}))),
    )
    .await;
    for wrong in [
        json!({"aud": "other"}),
        json!({"aud": null}),
        json!({"aud": ["x", "y"]}),
        json!({"iss": "https://evil.example"}),
        json!({"iss": null}),
    ] {
        closes_4100(
            &gateway,
            &token(token::merged(both.clone(), &wrong)),
            &wrong.to_string(),
        )
        .await;
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let gateway = Config {
        auth: "leeway = \"60s\"".into(),
        ..Config::default()
    }
    .start()
    .await;
    let now = token::now();
    let token = |more: Value| token::hs256(SECRET, &token::merged(token::claims("alice"), &more));
    connects(&gateway, &token(json!({"nbf": now + 30}))).await;
    closes_4100(&gateway, &token(json!({"nbf": now + 300})), "beyond the leeway").await;
    closes_4100(&gateway, &token(json!({"exp": now - 300})), "beyond the leeway").await;
}

#[tokio::test]
async fn the_account_claim_stands_in_for_sub() {
    let gateway = Config::default().start().await;
    let claims = token::merged(token::claims("x"), &json!({"sub": null, "account": "alice"}));
    assert_eq!(
        connects(&gateway, &token::hs256(SECRET, &claims)).await.connected["user"],
        "alice"
    );
}

#[tokio::test]
async fn a_connection_without_a_token_must_connect_in_time() {
    let gateway = Config {
        limits: "connect_timeout = \"1s\"".into(),
        ..Config::default()
    }
    .start()
    .await;
    let mut silent = open(Upgrade::to(gateway.public())).await;
    let mut pinging = open(Upgrade::to(gateway.public())).await;
    pinging
        .raw(tokio_tungstenite::tungstenite::Message::Ping("".into()))
        .await;
    let mut timely = open(Upgrade::to(gateway.public())).await;
    timely
        .ask(json!({"connect": {"token": good("alice")}}), "connected")
        .await;
    assert_eq!(silent.closed().await, 4101);
    assert_eq!(pinging.closed().await, 4101, "a ping is no connect");
    timely.ask(json!({"ping": {}}), "pong").await;
}

#[tokio::test]
async fn nothing_is_served_before_connect() {
    let gateway = Config {
        limits: "connect_timeout = \"1s\"".into(),
        ..Config::default()
    }
    .start()
    .await;
    for first in [
        json!({"ping": {}}),
        json!({"send": {"to": {"user": "bob"}, "body": 1}}),
        json!({"join": {"group": "g"}}),
    ] {
        let mut client = open(Upgrade::to(gateway.public())).await;
        client.start(first.clone()).await;
        // An error first, or the end at once: but no answer that means success, and the end in any case.
        loop {
            match client.event().await {
                herald_tests::client::Event::Frame(frame) => assert!(frame.get("error").is_some(), "{first}: {frame}"),
                herald_tests::client::Event::Closed(code, _) => {
                    assert!((4100..4200).contains(&code), "{first}: {code}");
                    break;
                }
                end => panic!("{first}: {end:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_second_connect_is_a_bad_request() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        let connect = json!({"connect": {"token": token::dev("bob")}});
        assert_eq!(alice.refused(connect).await, "bad_request");
        let sent = alice.say(json!({"user": "alice"}), json!(1)).await;
        assert_eq!(alice.next_message().await["from"], "alice", "{sent}");
    }
}

#[tokio::test]
async fn an_expired_token_closes_with_4002_and_a_refreshed_one_lives_on() {
    let gateway = Config {
        auth: "leeway = \"0s\"".into(),
        ..Config::default()
    }
    .start()
    .await;
    let short = |user: &str| {
        token::hs256(
            SECRET,
            &token::merged(token::claims(user), &json!({"exp": token::now() + 4})),
        )
    };
    let mut doomed = connects(&gateway, &short("alice")).await;
    let mut renewed = connects(&gateway, &short("alice")).await;
    let claims = token::claims("alice");
    let refresh = json!({"refresh": {"token": token::hs256(SECRET, &claims)}});
    let refreshed = renewed.ask(refresh, "refreshed").await;
    assert_eq!(refreshed["expires"], claims["exp"]);
    assert_eq!(doomed.closed().await, 4002);
    eventually("the old token's end has passed", async || {
        renewed.ask(json!({"ping": {}}), "pong").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        token::now() > claims["iat"].as_u64().unwrap() + 6
    })
    .await;
}

#[tokio::test]
async fn a_refresh_takes_only_a_good_token_of_the_same_user() {
    let gateway = Config::default().start().await;
    let mut alice = connects(&gateway, &good("alice")).await;
    for (why, bad) in [
        ("another user's", good("bob")),
        ("garbage", "garbage".to_owned()),
        ("of the development key", token::dev("alice")),
    ] {
        let answer = alice.command(json!({"refresh": {"token": bad}})).await;
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        assert!(["unauthorized", "forbidden"].contains(&code), "{why}: {answer}");
    }
    alice
        .ask(json!({"refresh": {"token": good("alice")}}), "refreshed")
        .await;
    alice.say(json!({"user": "alice"}), json!(1)).await;
    assert_eq!(alice.next_message().await["from"], "alice");
}

#[tokio::test]
async fn a_refresh_can_take_the_broadcast_claim_away() {
    let gateway = Config::default().start().await;
    let claims = token::merged(token::claims("alice"), &json!({"broadcast": true}));
    let mut alice = connects(&gateway, &token::hs256(SECRET, &claims)).await;
    let to_all = json!({"send": {"to": {"all": true}, "body": 1}});
    alice.ask(to_all.clone(), "sent").await;
    alice
        .ask(json!({"refresh": {"token": good("alice")}}), "refreshed")
        .await;
    assert_eq!(alice.refused(to_all).await, "forbidden");
}

#[tokio::test]
async fn tokens_stay_out_of_the_log() {
    let gateway = Config::default().start().await;
    let token = good("alice");
    let signature = token.rsplit_once('.').unwrap().1;
    Client::with_token(gateway.public(), Dialect::Json, &token)
        .await
        .close()
        .await;
    http::get(gateway.public(), &format!("/nothing?token={token}")).await;
    assert!(!gateway.log().contains(signature), "{}", gateway.log());
    assert!(!gateway.log().contains(SECRET));
}
