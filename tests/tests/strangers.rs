//! Nobody is let in, hears, learns or writes down what is not his to, whatever he calls himself and whatever he shows.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use herald_tests::{
    client::{Client, Dialect},
    cluster::Cluster,
    command,
    gateway::{Config, SECRET, dev_gateway, dev_gateway_with, file},
    http::{exchange, request},
    process::Node,
    short::{logged_in, logout, refreshed},
    token,
    upgrade::Upgrade,
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// What would be somebody else's subject, a wildcard, a key of a bucket, a header, or looks like another's name.
const NAMES: [&str; 22] = [
    "bob",
    "*",
    ">",
    "bob.>",
    "*.bob",
    "b*b",
    "bob.",
    ".bob",
    "bob ",
    " ",
    "=2A",
    "$SYS.>",
    "all",
    "beat",
    "user.bob",
    "bob\u{200b}",
    "\u{202e}bob",
    "e\u{301}",
    "\u{e9}",
    "BOB",
    "bob/../eve",
    "%2A",
];

#[tokio::test]
async fn names_that_look_like_subjects_hear_only_what_is_theirs() {
    let cluster = Cluster::start(1, 2).await;
    let addresses = cluster.addresses();
    let long = "*".repeat(128);
    let names: Vec<&str> = NAMES.into_iter().chain([long.as_str()]).collect();
    let mut clients = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let mut client = Client::dev(addresses[i % 2], name).await;
        assert_eq!(client.connected["user"], **name);
        client.join(name).await;
        clients.push(client);
    }
    let mut sender = Client::dev(addresses[0], "sender").await;
    for round in ["first", "last"] {
        for name in &names {
            sender.say(json!({"user": name}), json!([round, "user", name])).await;
        }
    }
    for (name, client) in names.iter().zip(&mut clients) {
        client.say(json!({"group": name}), json!(["only", "group", name])).await;
    }
    for (name, client) in names.iter().zip(&mut clients) {
        let mut heard: Vec<Value> = client
            .messages(3)
            .await
            .iter()
            .map(|message| message["body"].clone())
            .collect();
        heard.sort_by_key(Value::to_string);
        assert_eq!(
            heard,
            [
                json!(["first", "user", name]),
                json!(["last", "user", name]),
                json!(["only", "group", name])
            ]
        );
        let inbox = client.ask(json!({"history": {"of": {"user": true}}}), "history").await;
        let kept: Vec<&Value> = inbox["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| &message["body"])
            .collect();
        assert_eq!(
            kept,
            [&json!(["first", "user", name]), &json!(["last", "user", name])],
            "{name:?}"
        );
        let members = client.ask(json!({"presence": {"group": name}}), "presence").await;
        assert_eq!(
            (&members["members"], &members["online"]),
            (&json!(1), &json!(1)),
            "{name:?}: {members}"
        );
    }
    for (name, client) in names.iter().zip(&mut clients) {
        client.ask(json!({"ping": {}}), "pong").await;
        assert!(
            client.take_waiting().iter().all(|frame| frame.get("message").is_none()),
            "{name:?}"
        );
    }
    for service in ["*", ">", "echo.>", "a b", "", "\u{e9}", &"x".repeat(65)] {
        for call in [
            json!({"service": service}),
            json!({"service": "echo", "method": service}),
        ] {
            assert_eq!(sender.refused(json!({"call": call})).await, "bad_request", "{call}");
        }
    }
}

#[tokio::test]
async fn a_cursor_opens_nobody_elses_inbox() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let early = alice.connected["cursor"].as_str().unwrap().to_owned();
    alice.join("hers").await;
    for n in 0..5 {
        alice.say(json!({"user": "alice"}), json!(n)).await;
        alice.say(json!({"group": "hers"}), json!(n)).await;
    }
    for dialect in Dialect::BOTH {
        let upgrade = Upgrade::to(gateway.public())
            .dialect(dialect)
            .query("token", &token::dev("mallory"));
        let mut mallory = upgrade.query("cursor", &early).connect().await;
        assert_eq!(mallory.connected["resumed"], true);
        mallory.say(json!({"user": "mallory"}), json!("first")).await;
        assert_eq!(mallory.next_message().await["body"], "first", "nothing before it");
    }
    let bearer = format!("Bearer {}", token::dev("mallory2"));
    let body = json!({"cursor": early, "wait": 0}).to_string();
    let polled = request(
        gateway.public(),
        "POST",
        "/poll",
        &[("Authorization", &bearer)],
        body.as_bytes(),
    )
    .await;
    assert_eq!(polled.json()["messages"], json!([]), "{polled:?}");
}

async fn of_groups(gateway: &Node, user: &str, groups: &[&str]) -> Client {
    let claims = token::merged(token::claims(user), &json!({"groups": groups}));
    Client::with_token(gateway.public(), Dialect::Json, &token::hs256(SECRET, &claims)).await
}

/// The answer without what differs in any case.
fn shape(mut answer: Value, name: &str) -> String {
    answer.as_object_mut().unwrap().remove("id");
    for verb in ["sent", "pong"] {
        if let Some(sent) = answer.get_mut(verb).and_then(Value::as_object_mut) {
            for changing in ["id", "offset", "time"] {
                sent.remove(changing);
            }
        }
    }
    answer.to_string().replace(name, "<name>")
}

#[tokio::test]
async fn strangers_cannot_tell_whether_a_group_or_a_user_exists() {
    let gateway = Config::default().start().await;
    let mut member = of_groups(&gateway, "member", &["there"]).await;
    member.say(json!({"group": "there"}), json!(1)).await;
    let mut stranger = of_groups(&gateway, "stranger", &[]).await;
    for ask in [
        |group: &str| json!({"send": {"to": {"group": group}, "body": 1}}),
        |group: &str| json!({"history": {"of": {"group": group}}}),
        |group: &str| json!({"history": {"of": {"group": group}, "after": "5f3a.0:1"}}),
        |group: &str| json!({"presence": {"group": group}}),
        |group: &str| json!({"join": {"group": group}}),
        |group: &str| json!({"leave": {"group": group}}),
    ] {
        let there = shape(stranger.command(ask("there")).await, "there");
        let nowhere = shape(stranger.command(ask("nowhere")).await, "nowhere");
        assert_eq!(there, nowhere, "{}", ask("there"));
    }
    for ask in [
        |user: &str| json!({"presence": {"users": [user]}}),
        |user: &str| json!({"watch": {"users": [user]}}),
        |user: &str| json!({"send": {"to": {"user": user}, "body": 1}}),
        |user: &str| json!({"history": {"of": {"user": user}}}),
    ] {
        let there = shape(stranger.command(ask("member")).await, "member");
        let nowhere = shape(stranger.command(ask("nobody")).await, "nobody");
        assert_eq!(there, nowhere, "{}", ask("member"));
    }
    member.ask(json!({"ping": {}}), "pong").await;
}

/// Of the head everybody must read the same, or one server lets in what another has refused.
#[tokio::test]
async fn heads_of_tokens_that_can_be_read_in_two_ways_are_refused() {
    let gateway = Config::default().start().await;
    let claims = token::claims("alice");
    let with_head = |head: &str| {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    let good = with_head(r#"{"alg":"HS256"}"#);
    let closed = async |token: &str| {
        let (mut client, _) = Upgrade::to(gateway.public()).text("token", token).open().await.unwrap();
        client.event().await
    };
    Upgrade::to(gateway.public()).query("token", &good).connect().await;
    let heads = [
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":null}"#,
        r#"{"alg":""}"#,
        r#"{}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256","kid":["k"]}"#,
        r#"{"alg":"HS256","kid":""}"#,
        r#"{"alg":"HS256","kid":"../../../../dev/null"}"#,
        r#"{"alg":"HS256","kid":"x' UNION SELECT 'secret"}"#,
        r#"{"alg":"HS256","kid":"|/bin/true"}"#,
        r#"{"alg":"HS256"} "x""#,
    ];
    let whole = [
        format!("{good}."),
        format!("{good}.x"),
        format!(".{good}"),
        format!("{good}="),
        format!("{good}\n"),
        good.replacen('.', "..", 1),
        good.replacen('.', "=.", 1),
        format!("{good},{good}"),
    ];
    for bad in heads.map(&with_head).into_iter().chain(whole) {
        let end = closed(&bad).await;
        assert!(
            matches!(end, herald_tests::client::Event::Closed(4100, _)),
            "{bad}: {end:?}"
        );
    }
}

fn openssl(arguments: &[&str]) -> String {
    let made = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is there");
    assert!(
        made.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    String::from_utf8(made.stdout).unwrap()
}

/// The private and the public half, in PEM.
fn rsa(bits: &str) -> (String, String) {
    let private = openssl(&["genrsa", bits]);
    let kept = file(&private);
    let public = openssl(&["rsa", "-in", kept.path().to_str().unwrap(), "-pubout"]);
    (private, public)
}

fn checked(keys: &str) -> (Option<i32>, String) {
    let config = file(&format!("[auth]\n{keys}"));
    let outcome = command::run("herald-gateway", ["check", "--config", config.path().to_str().unwrap()]);
    (outcome.code, outcome.stdout + &outcome.stderr)
}

#[tokio::test]
async fn rsa_keys_are_long_enough_and_are_no_secrets() {
    let (private, public) = rsa("2048");
    let pem = file(&public);
    let keys = format!(
        "[[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = {:?}\n",
        pem.path()
    );
    let (code, said) = checked(&keys);
    assert_eq!(code, Some(0), "{said}");
    let gateway = Config {
        keys,
        ..Config::default()
    }
    .start()
    .await;
    let claims = token::claims("alice");
    let message = token::unsigned(&json!({"alg": "RS256"}), &claims);
    let key = EncodingKey::from_rsa_pem(private.as_bytes()).unwrap();
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
    Upgrade::to(gateway.public())
        .query("token", &format!("{message}.{signature}"))
        .connect()
        .await;
    // The old confusion, with each form in which the key is public.
    let bare: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    for secret in [public.as_str(), public.trim_end(), bare.as_str()] {
        let (mut client, _) = Upgrade::to(gateway.public())
            .query("token", &token::hs256(secret, &claims))
            .open()
            .await
            .unwrap();
        assert_eq!(client.closed().await, 4100);
    }

    let (_, short) = rsa("1024");
    let pem = file(&short);
    let (code, said) = checked(&format!(
        "[[auth.keys]]\nalgorithm = \"RS256\"\npublic_key_file = {:?}\n",
        pem.path()
    ));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("auth.keys[0]") && said.contains("1024 bits"), "{said}");
    // As a JWK set; the modulus is 128 bytes of which the first is not 0.
    let jwk = json!({"keys": [{"kty": "RSA", "alg": "RS256", "kid": "r", "n": URL_SAFE_NO_PAD.encode([0xc5; 128]), "e": "AQAB"}]});
    let jwks = file(&jwk.to_string());
    let (code, said) = checked(&format!("[[auth.keys]]\njwks_file = {:?}\n", jwks.path()));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("1024 bits"), "{said}");
}

/// On a connection too, and it gives nobody more than it has.
#[tokio::test]
async fn an_older_token_of_a_session_prolongs_nothing_and_ends_with_it() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let first = logged_in(address, "zbj").await;
    let second = refreshed(address, &first).await;
    let mut client = Client::with_token(address, Dialect::Json, &second).await;
    let answer = client.ask(json!({"refresh": {"token": first}}), "refreshed").await;
    assert_eq!(
        answer["expires"],
        token::claims_of(&first)["exp"],
        "the token's own end"
    );
    assert!(token::claims_of(&first)["exp"].as_f64() <= token::claims_of(&second)["exp"].as_f64());
    assert_eq!(logout(address, &second).await.status, 200);
    assert_eq!(client.closed().await, 4100);
    let mut other = Client::dev(address, "zbj").await;
    assert_eq!(
        other.refused(json!({"refresh": {"token": first}})).await,
        "unauthorized"
    );
}

#[tokio::test]
async fn a_foreign_page_is_refused_on_every_path_whatever_its_cookie() {
    let gateway = dev_gateway().await;
    let cookie = format!("token={}", token::dev("alice"));
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for path in [
        "/ws",
        "/login",
        "/message",
        "/refresh",
        "/logout",
        "/command",
        "/poll",
        "/events",
        "/socket.io?user=alice",
        "/serv/",
        "/echo",
        "/hub",
        "/ws/7",
        "/nowhere",
    ] {
        for method in ["GET", "POST"] {
            for origins in [
                &["https://evil.example"][..],
                &["null"],
                &["http://localhost", "https://evil.example"],
                &["http://localhost.evil.example"],
                &[""],
            ] {
                let mut headers = vec![("Cookie", cookie.as_str())];
                headers.extend(origins.iter().map(|origin| ("Origin", *origin)));
                let response = request(gateway.public(), method, path, &headers, b"").await;
                assert_eq!(response.status, 403, "{method} {path} of {origins:?}: {response:?}");
                assert_eq!(response.header("access-control-allow-origin"), None);
                // `request` asks for the end of the connection, so the upgrade is written here.
                let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", gateway.public());
                for (name, value) in headers.iter().chain(&upgrade) {
                    head += &format!("{name}: {value}\r\n");
                }
                let ended = format!("{head}\r\nGET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                assert_eq!(
                    exchange(gateway.public(), ended.as_bytes()).await.status,
                    403,
                    "{method} {path}"
                );
            }
        }
    }
}

/// At the most talkative level: a line is a line, and what is in it moves no terminal.
#[tokio::test]
async fn nobody_writes_lines_into_the_log() {
    for format in ["text", "json"] {
        let config = file(&format!("[logging]\nlevel = 'trace'\nformat = '{format}'\n"));
        let gateway = dev_gateway_with(&["--config", config.path().to_str().unwrap()]).await;
        let address = gateway.public();
        const EVIL: &str =
            "x\r\n2026-01-01T00:00:00Z ERROR forged: line\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}1m\u{2028}\u{85}y";
        let encoded: String = EVIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in [
            format!("/{encoded}"),
            format!("/ws?token={encoded}&cursor={encoded}&device={encoded}"),
            format!("/socket.io?user={encoded}"),
            format!("/ws/{encoded}"),
        ] {
            for more in [
                "",
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ] {
                let head = format!(
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}X-Forwarded-For: \x1b[31m\u{9b}\r\nUser-Agent: \u{9b}1m\r\nConnection: close\r\n\r\n"
                );
                exchange(address, head.as_bytes()).await;
            }
        }
        exchange(address, EVIL.as_bytes()).await;
        let post = |path: &str, body: String| {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            async move { exchange(address, head.as_bytes()).await }
        };
        post("/login", EVIL.to_owned()).await;
        post("/login", json!({"msg_id": 1, "bytes": EVIL}).to_string()).await;
        let mut client = Client::dev(address, "alice\u{202e}\u{2028}evil").await;
        for command in [
            json!({"send": {"to": {"user": EVIL}, "body": EVIL}}),
            json!({"send": {"to": {"user": "bob"}, "body": EVIL, "kind": EVIL}}),
            json!({"join": {"group": EVIL}}),
            json!({"call": {"service": EVIL}}),
            json!({"refresh": {"token": EVIL}}),
            json!({"presence": {"users": [EVIL]}}),
            json!({EVIL: {}}),
        ] {
            client.command(command).await;
        }
        client.join("group\u{2028}2026-01-01T00:00:00Z ERROR forged").await;
        let log = gateway.log();
        assert!(log.lines().count() > 10, "{log}");
        for line in log.split('\n').filter(|line| !line.is_empty()) {
            let begins = if format == "json" {
                line.starts_with('{')
            } else {
                line.starts_with("20") && !line.starts_with("2026-01-01")
            };
            assert!(begins, "a forged line: {line:?}");
            assert!(
                !line.chars().any(|c| c.is_control() && c != '\t'),
                "a control character: {line:?}"
            );
            if format == "json" {
                serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
            }
        }
    }
}
