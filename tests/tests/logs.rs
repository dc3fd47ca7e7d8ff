//! One message can be followed by its id through the logs of all nodes on its way; and nothing that is nobody's business
//! stands in them.
#![allow(clippy::unwrap_used)]

use herald_tests::{
    client::Client,
    eventually,
    gateway::{FREE, file},
    nats::NatsServer,
    process::Node,
    token,
};
use serde_json::{Value, json};

const JSON_DEBUG: &str = "[logging]\nlevel = \"debug\"\nformat = \"json\"\n";
const BODY: &str = "a-body-that-is-nobodys-business";
/// Would begin a line of its own, in viewers that know it as a line's end, and colour it.
const USER: &str = "bob\u{2028}INFO forged";

async fn node(name: &str, more: &[&str]) -> Node {
    let config = file(JSON_DEBUG);
    let path = config.path().to_str().unwrap().to_owned();
    let mut node = Node::spawn(name, [&["--config", &path, "--dev", "--admin", FREE], more].concat());
    node.files.push(config);
    node.ready().await;
    node
}

/// The events that name this message, with what else they tell.
fn events(node: &Node, message: &str) -> Vec<Value> {
    let lines = node.log();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    let fields = lines.map(|line| line["fields"].clone());
    // The text of an event is its "message": ids stand in "message_id".
    fields.filter(|fields| fields["message_id"] == message).collect()
}

fn find<'a>(events: &'a [Value], what: &str) -> &'a Value {
    let found = events.iter().find(|event| event["message"] == what);
    found.unwrap_or_else(|| panic!("no {what} in {events:?}"))
}

#[tokio::test]
async fn a_message_is_followed_by_its_id_from_gateway_to_router_to_gateway() {
    let nats = NatsServer::start().await;
    let url = nats.url();
    let router = node("herald-router", &["--nats", &url]).await;
    let gateway = [&["--nats", url.as_str()][..], &["--listen", FREE]].concat();
    let (first, second) = (
        node("herald-gateway", &gateway).await,
        node("herald-gateway", &gateway).await,
    );
    let mut alice = Client::dev(first.public(), "alice").await;
    let mut bob = Client::dev(second.public(), USER).await;
    let sent = alice.say(json!({"user": USER}), json!({"text": BODY})).await;
    let (id, offset) = (sent["id"].as_str().unwrap(), sent["offset"].as_str().unwrap());
    let received = bob.next_message().await;
    assert_eq!(received["id"], id);

    eventually("it was written", async || {
        events(&second, id).iter().any(|event| event["message"] == "written")
    })
    .await;
    let accepted = events(&first, id);
    let accepted = find(&accepted, "accepted");
    assert_eq!(accepted["connection"], alice.connected["connection"], "{accepted}");
    assert_eq!((&accepted["to"], &accepted["durable"]), (&json!("user"), &json!(true)));
    let stored = events(&router, id);
    assert_eq!(find(&stored, "stored")["offset"], offset);
    let given = events(&second, id);
    let fanned_out = find(&given, "fanned out");
    assert_eq!(
        (&fanned_out["offset"], &fanned_out["receivers"]),
        (&json!(offset), &json!(1))
    );
    let written = find(&given, "written");
    assert_eq!(written["connection"], bob.connected["connection"], "{written}");
    assert_eq!(written["waits"], 0, "{written}");

    let token = token::dev("alice");
    for node in [&first, &second, &router] {
        let log = node.log();
        for secret in [
            BODY,
            token::DEV_SECRET,
            "dev-api-key",
            token.rsplit('.').next().unwrap(),
        ] {
            assert!(!log.contains(secret), "{secret} in a log");
        }
        assert!(!log.contains('\u{2028}'), "a user's id begins a line");
    }
    assert!(
        second.log().contains("bob\\\\u{2028}INFO forged"),
        "it is told, escaped"
    );
}
