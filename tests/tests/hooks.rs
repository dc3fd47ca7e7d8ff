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
    let undecided = [
        Decides::Hangs,
        Decides::BreaksOff,
        Decides::Fails(500, "no"),
        Decides::With(json!({"perhaps": true})),
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
            assert_eq!(Metrics::of(gateway.admin()).await.get(&counted), 1.0, "{decides:?}");
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
