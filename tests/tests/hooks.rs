//! Hooks: the application's services decide who connects, what is sent and who joins; and where they do not decide, the
//! configuration does, in time.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use herald_tests::{
    api::Api,
    client::{Client, Dialect, Upgrade},
    command,
    gateway::{Config, dev_gateway_with, file},
    guard::{Decides, Guard},
    http::request,
    metrics::Metrics,
    process::Node,
    raw::{BINARY, FIN, Raw, TEXT},
    token,
};
use serde_json::{Value, json};

/// Far below what anything else here waits for.
const TIMEOUT: &str = "300ms";

async fn gateway(guard: &Guard, hooks: &[(&str, &str)]) -> Node {
    let mut config = guard.table();
    for (hook, on_failure) in hooks {
        config +=
            &format!("[hooks.{hook}]\nservice = \"guard\"\ntimeout = \"{TIMEOUT}\"\non_failure = \"{on_failure}\"\n");
    }
    let file = file(&config);
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    gateway
}

fn allow() -> Decides {
    Decides::With(json!({"allow": true}))
}

async fn closed(gateway: &Node, user: &str) -> u16 {
    let upgrade = Upgrade::to(gateway.public()).text("token", &token::dev(user));
    let (mut client, _) = upgrade.open().await.unwrap();
    client.closed().await
}

#[tokio::test]
async fn a_connect_is_allowed_refused_or_given_groups() {
    let guard = Guard::start(|_, question| match question["user"].as_str() {
        Some("mallory") => Decides::With(json!({"allow": false, "message": "banned"})),
        Some("eve") => Decides::Fails(403, "banned too"),
        _ => Decides::With(json!({"allow": true, "groups": ["vip"]})),
    })
    .await;
    let gateway = gateway(&guard, &[("connect", "refuse")]).await;
    let upgrade = Upgrade::to(gateway.public()).text("token", &token::dev_with("alice", &json!({"groups": ["own"]})));
    let alice = upgrade.query("device", "phone").connect().await;
    assert_eq!(alice.connected["groups"], json!(["own", "vip"]));
    let question = &guard.asked("connect")[0];
    assert_eq!(
        (&question["user"], &question["device"]),
        (&json!("alice"), &json!("phone"))
    );
    assert_eq!(
        (&question["address"], &question["dialect"]),
        (&json!("127.0.0.1"), &json!("herald.v1.json"))
    );
    assert_eq!(question["connection"], alice.connected["connection"]);
    for (user, why) in [("mallory", "banned"), ("eve", "banned too")] {
        assert_eq!(closed(&gateway, user).await, 4100, "{user}");
        let (mut client, _) = Upgrade::to(gateway.public()).open().await.unwrap();
        let answer = client.command(json!({"connect": {"token": token::dev(user)}})).await;
        assert_eq!(
            (&answer["error"]["code"], &answer["error"]["message"]),
            (&json!("forbidden"), &json!(why))
        );
    }
    // Who only POSTs is asked about as well.
    let bearer = format!("Bearer {}", token::dev("mallory"));
    let polled = request(
        gateway.public(),
        "POST",
        "/poll",
        &[("Authorization", &bearer)],
        b"{\"wait\":0}",
    )
    .await;
    assert_eq!(polled.status, 403, "{polled:?}");
}

#[tokio::test]
async fn a_message_is_allowed_refused_or_rewritten() {
    let guard = Guard::start(|_, question| match question["body"]["text"].as_str() {
        Some("darn") => Decides::With(json!({"allow": true, "body": {"text": "****"}})),
        Some("worse") => Decides::With(json!({"allow": false, "message": "mind your words"})),
        _ => allow(),
    })
    .await;
    let gateway = gateway(&guard, &[("send", "refuse")]).await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let mut alice = Client::with_token(gateway.public(), Dialect::Proto, &token::dev("alice")).await;
    let to = json!({"user": "bob"});
    for text in ["hello", "darn"] {
        alice.say(to.clone(), json!({ "text": text })).await;
    }
    let refused = alice
        .command(json!({"send": {"to": to, "body": {"text": "worse"}}}))
        .await;
    assert_eq!(refused["error"]["code"], "forbidden");
    assert_eq!(refused["error"]["message"], "mind your words");
    let bearer = format!("Bearer {}", token::dev("alice"));
    let body = json!({"send": {"to": to, "body": {"text": "darn"}}}).to_string();
    let sent = request(
        gateway.public(),
        "POST",
        "/command",
        &[("Authorization", &bearer)],
        body.as_bytes(),
    )
    .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    // What the application itself sends passes no hook.
    Api::dev(gateway.admin())
        .post("messages", &json!({"to": to, "body": {"text": "worse"}}))
        .await;
    let heard: Vec<Value> = bob
        .messages(4)
        .await
        .into_iter()
        .map(|m| m["body"]["text"].clone())
        .collect();
    assert_eq!(heard, ["hello", "****", "****", "worse"]);
    let asked = guard.asked("send");
    assert_eq!(asked.len(), 4);
    assert_eq!(
        (&asked[0]["user"], &asked[0]["to"], &asked[0]["durable"]),
        (&json!("alice"), &to, &json!(true))
    );
}

/// Services in languages of all kinds write what they do not set.
#[tokio::test]
async fn what_is_null_is_not_there_and_a_long_word_is_cut() {
    let guard = Guard::start(|_, question| match question["body"].as_str() {
        Some("long") => Decides::With(json!({"allow": false, "message": "é".repeat(100_000)})),
        _ => Decides::With(json!({"allow": true, "message": null, "groups": null, "body": null})),
    })
    .await;
    let gateway = gateway(&guard, &[("connect", "refuse"), ("send", "refuse"), ("join", "refuse")]).await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    alice.join("team").await;
    alice.say(json!({"user": "alice"}), json!("as it is")).await;
    assert_eq!(alice.next_message().await["body"], "as it is");
    let refused = alice
        .command(json!({"send": {"to": {"user": "bob"}, "body": "long"}}))
        .await;
    let told = refused["error"]["message"].as_str().unwrap();
    assert_eq!(
        (&refused["error"]["code"], told.chars().count()),
        (&json!("forbidden"), 200)
    );
}

/// Whatever an application's own formats are, and on every way in.
#[tokio::test]
async fn messages_of_all_dialects_are_rewritten() {
    let guard = Guard::start(|method, _| match method {
        "send" => Decides::With(json!({"allow": true, "body": "rewritten"})),
        _ => allow(),
    })
    .await;
    let gateway = gateway(&guard, &[("send", "refuse")]).await;
    let mut bob = Client::dev(gateway.public(), "8").await;
    let article = async |path: &str, first: u8, payload: &[u8]| {
        let mut raw = Raw::open(gateway.public(), path, &[]).await;
        assert!(raw.upgraded(), "{}", raw.head);
        raw.frame(FIN | first, payload).await;
        raw
    };
    let _ws_id = article("/ws/7", TEXT, br#"{"type":1,"sender":7,"receiver":8,"content":"darn"}"#).await;
    // from, fromUsername, to, content, contentType 1, messageType 1.
    let im = [(2, "7"), (3, "nick"), (4, "8"), (5, "darn")];
    let mut message = Vec::new();
    for (field, text) in im {
        message.extend([field << 3 | 2, u8::try_from(text.len()).unwrap()]);
        message.extend(text.as_bytes());
    }
    message.extend([6 << 3, 1, 8 << 3, 1]);
    let _im = article("/socket.io?user=7", BINARY, &message).await;
    let mut hub = article(
        "/hub",
        TEXT,
        json!({"token": token::dev("7"), "UserID": "7"}).to_string().as_bytes(),
    )
    .await;
    hub.text(&json!({"UserID": "7", "ToUserID": "8", "Text": "darn"}).to_string())
        .await;
    for _ in 0..3 {
        assert_eq!(bob.next_message().await["body"], "rewritten");
    }
    assert_eq!(guard.asked("send").len(), 3);
}

#[tokio::test]
async fn a_join_is_allowed_or_refused() {
    let guard = Guard::start(|_, question| {
        Decides::With(json!({"allow": question["group"] != "full", "message": "the team is full"}))
    })
    .await;
    let gateway = gateway(&guard, &[("join", "refuse")]).await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    alice.join("team").await;
    let refused = alice.command(json!({"join": {"group": "full"}})).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["message"]),
        (&json!("forbidden"), &json!("the team is full"))
    );
    Api::dev(gateway.admin()).put("groups/full/members/alice").await;
    assert_eq!(alice.next("group").await, json!({"group": "team", "joined": true}));
    assert_eq!(alice.next("group").await, json!({"group": "full", "joined": true}));
}

#[tokio::test]
async fn a_hook_that_does_not_decide_obeys_its_timeout_and_the_configuration() {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let undecided = [
        Decides::Hangs,
        Decides::BreaksOff,
        Decides::Fails(500, "no"),
        Decides::Fails(307, "elsewhere"),
        Decides::Fails(429, "later"),
        Decides::With(json!({"perhaps": true})),
        Decides::With(json!({"allow": true, "groups": ["good", ""]})),
        Decides::With(json!({"allow": true, "body": deep})),
        Decides::With(json!({"allow": true, "much": "x".repeat(2 << 20)})),
    ];
    for decides in undecided {
        let decided = decides.clone();
        let guard = Guard::start(move |_, _| decided.clone()).await;
        for open in [true, false] {
            let on_failure = if open { "allow" } else { "refuse" };
            let gateway = gateway(&guard, &[("send", on_failure), ("join", on_failure)]).await;
            let mut alice = Client::dev(gateway.public(), "alice").await;
            let begun = Instant::now();
            let sent = alice.command(json!({"send": {"to": {"user": "bob"}, "body": 1}})).await;
            let joined = alice.command(json!({"join": {"group": "g"}})).await;
            assert!(begun.elapsed() < Duration::from_secs(5), "{decides:?}");
            for (answer, done) in [(&sent, "sent"), (&joined, "joined")] {
                match open {
                    true => assert!(answer[done].is_object(), "{decides:?}: {answer}"),
                    false => {
                        assert_eq!(answer["error"]["code"], "unavailable", "{decides:?}: {answer}");
                        assert_eq!(answer["error"]["retry"], true);
                    }
                }
            }
            let outcome = if open { "failed_open" } else { "failed_closed" };
            let counted = format!("herald_gateway_hooks_total{{hook=\"send\",outcome=\"{outcome}\"}}");
            let metrics = Metrics::of(gateway.admin()).await;
            assert_eq!(metrics.get(&counted), 1.0, "{decides:?}");
            assert_eq!(
                metrics.sum("herald_gateway_hooks_total", &[]),
                2.0,
                "each is one thing: {decides:?}"
            );
        }
        let open = gateway(&guard, &[("connect", "allow")]).await;
        let _connected = Client::dev(open.public(), "alice").await;
        let shut = gateway(&guard, &[("connect", "refuse")]).await;
        assert_eq!(closed(&shut, "alice").await, 4005, "{decides:?}");
    }
}

#[tokio::test]
async fn a_hook_that_hangs_delays_only_whom_it_is_asked_about() {
    let guard = Guard::start(|_, question| match question["user"].as_str() {
        Some("slow") => Decides::Hangs,
        _ => allow(),
    })
    .await;
    let gateway = gateway(&guard, &[("send", "refuse")]).await;
    let mut slow = Client::dev(gateway.public(), "slow").await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let waiting = slow
        .start(json!({"send": {"to": {"user": "alice"}, "body": "late"}}))
        .await;
    for n in 0..20 {
        alice.say(json!({"user": "alice"}), json!(n)).await;
    }
    assert_eq!(alice.messages(20).await[19]["body"], 19);
    assert_eq!(slow.answer(waiting).await["error"]["code"], "unavailable");
}

#[tokio::test]
async fn faults_of_hooks_are_named_and_clients_cannot_call_them() {
    let check = |hooks: &str| {
        let config = Config {
            rest: hooks.to_owned(),
            ..Config::default()
        };
        let file = file(&config.text());
        command::run("herald-gateway", ["check", "--config", file.path().to_str().unwrap()])
    };
    let good = "[hooks.send]\nservice = \"guard\"\non_failure = \"allow\"\n";
    assert_eq!(check(good).code, Some(0));
    for (hooks, fault) in [
        ("[hooks.send]\nservice = \"guard\"\n".to_owned(), "on_failure"),
        (good.replace("allow", "perhaps"), "hooks.send.on_failure"),
        (good.replace("guard", "a b"), "hooks.send.service"),
        (format!("{good}timeout = \"1h\"\n"), "hooks.send.timeout"),
        (good.replace("send", "fly"), "fly"),
        (
            format!("{good}[services.guard]\nclients = true\n"),
            "services.guard.clients",
        ),
    ] {
        let outcome = check(&hooks);
        assert_eq!(outcome.code, Some(2), "{hooks}");
        assert!(outcome.stderr.contains(fault), "{hooks}: {}", outcome.stderr);
    }
    let guard = Guard::start(|_, _| allow()).await;
    let gateway = gateway(&guard, &[("join", "allow")]).await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let call = json!({"call": {"service": "guard", "method": "join", "body": {}}});
    assert_eq!(alice.refused(call).await, "not_found");
    assert!(guard.asked("join").is_empty());
}
