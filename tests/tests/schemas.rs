//! `proto/events.schema.json` holds for what the documentation shows, and for what gateways and routers really tell and ask.
#![allow(clippy::unwrap_used)]

use std::{env, path::Path, process::Stdio};

use herald_tests::{
    api::Api,
    client::Upgrade,
    eventually,
    gateway::{dev_gateway_with, file},
    guard::{Decides, Guard},
    http::request,
    short::{login, logout, token},
    token,
    webhook::Receiver,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

const SCHEMA: &str = include_str!("../../proto/events.schema.json");
const EVENTS: &str = include_str!("../../proto/events.md");

/// For each value what is wrong with it, by somebody else's validator.
async fn faults(values: &[(&str, Value)]) -> Vec<Option<String>> {
    let schemathesis = env::var_os("SCHEMATHESIS").expect("run tests/run, or see tests/find-schemathesis");
    let python = Path::new(&schemathesis).with_file_name("python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis/valid.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let asked = json!({ "schema": schema, "values": values });
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(asked.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn all_fit(values: &[(&str, Value)]) {
    for ((definition, value), fault) in values.iter().zip(faults(values).await) {
        assert_eq!(fault, None, "{definition}: {value}");
    }
}

/// Which definition an example of the documentation is of; None: it is something else.
fn definition(example: &Value) -> Option<&'static str> {
    let has = |name: &str| example.get(name).is_some();
    match () {
        () if has("node") => Some("event"),
        () if has("allow") => Some("answer"),
        () if has("dialect") => Some("connect_question"),
        () if has("to") => Some("send_question"),
        () if has("group") => Some("join_question"),
        () => None,
    }
}

#[tokio::test]
async fn what_the_documentation_shows_fits() {
    let code = EVENTS.lines().filter_map(|line| line.strip_prefix("    "));
    let examples = code.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut values: Vec<_> = examples
        .filter_map(|example| Some((definition(&example)?, example)))
        .collect();
    let header = EVENTS
        .lines()
        .find_map(|line| line.trim().strip_prefix("Herald-Signature: "));
    values.push(("signature", json!(header.unwrap())));
    values.push(("webhook", json!({ "events": [] })));
    assert!(values.len() > 15, "{values:?}");
    all_fit(&values).await;
}

#[tokio::test]
async fn what_does_not_fit_is_found() {
    let at = json!({"id": "1", "kind": "online", "time": 5, "node": "n", "user": "bob"});
    let with = |name: &str, value: Value| {
        let mut event = at.clone();
        event[name] = value;
        ("event", event)
    };
    let message = |more: Value| {
        let mut message = json!({"id": "1", "to": {"user": "bob"}, "time": 5, "durable": false});
        message
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let mut event = at.clone();
        event["kind"] = json!("message");
        event["message"] = message;
        ("event", event)
    };
    let wrong = [
        ("event", json!({})),
        with("kind", json!("gone")),
        with("kind", json!("connected")),
        with("kind", json!("group")),
        with("kind", json!("logout")),
        with("time", json!("now")),
        with("since", json!("ever")),
        message(json!({})),
        message(json!({"body": 1, "body_base64": "", "content_type": "a/b"})),
        message(json!({"body": 1, "to": {"user": "bob", "group": "team"}})),
        message(json!({"body": 1, "offset": "nowhere"})),
        ("webhook", json!({"events": [{}]})),
        ("signature", json!("t=1,v1=00")),
        ("connect_question", json!({"user": "bob"})),
        (
            "send_question",
            json!({"user": "bob", "to": {"all": true}, "durable": true}),
        ),
        ("join_question", json!({"user": "bob"})),
        ("answer", json!({"allow": "yes"})),
        ("answer", json!({"allow": true, "groups": "vip"})),
    ];
    for ((definition, value), fault) in wrong.iter().zip(faults(&wrong).await) {
        assert!(fault.is_some(), "{definition}: {value} should not fit");
    }
    all_fit(&[("event", at.clone()), message(json!({"body": null}))]).await;
}

#[tokio::test]
async fn what_is_told_and_asked_fits() {
    let guard = Guard::start(|_, _| Decides::With(json!({"allow": true}))).await;
    let receiver = Receiver::start().await;
    let mut config = String::from(
        "[events]\nkinds = [\"connected\", \"disconnected\", \"online\", \"offline\", \"message\", \"group\", \"login\", \"logout\"]\n",
    );
    config += &receiver.table("hook", "");
    config += &guard.table();
    for hook in ["connect", "send", "join"] {
        config += &format!("[hooks.{hook}]\nservice = \"guard\"\non_failure = \"refuse\"\n");
    }
    let file = file(&config);
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    let upgrade = Upgrade::to(gateway.public()).text("token", &token::dev("bob"));
    let mut bob = upgrade.query("device", "phone").connect().await;
    bob.join("team").await;
    bob.say(json!({"group": "team"}), json!({"text": "hi"})).await;
    let bytes =
        json!({"send": {"to": {"user": "ann"}, "body_base64": "AAA=", "content_type": "a/b", "durable": false}});
    bob.ask(bytes, "sent").await;
    let bearer = format!("Bearer {}", token::dev("ann"));
    let posted = json!({"send": {"to": {"user": "bob"}, "kind": "k", "body": 1}}).to_string();
    let headers = [("Authorization", bearer.as_str())];
    let posted = request(gateway.public(), "POST", "/command", &headers, posted.as_bytes()).await;
    assert_eq!(posted.status, 200, "{posted:?}");
    Api::dev(gateway.admin()).delete("groups/team").await;
    bob.close().await;
    let response = login(gateway.public(), "zoe", "any").await;
    logout(gateway.public(), &token(&response)).await;
    for (kind, user) in [("offline", "bob"), ("logout", "zoe")] {
        receiver.hears(user, kind).await;
    }
    eventually("the deletion", async || {
        receiver.events().iter().any(|event| event["deleted"] == true)
    })
    .await;
    let events = receiver.events().into_iter().map(|event| ("event", event));
    let mut values: Vec<_> = events.collect();
    for (hook, definition) in [
        ("connect", "connect_question"),
        ("send", "send_question"),
        ("join", "join_question"),
    ] {
        let asked = guard.asked(hook);
        assert!(!asked.is_empty(), "{hook}");
        values.extend(asked.into_iter().map(|question| (definition, question)));
    }
    values.extend(
        receiver
            .signatures()
            .into_iter()
            .map(|header| ("signature", json!(header))),
    );
    assert!(values.len() > 15, "{values:?}");
    all_fit(&values).await;
}
