//! Article 003: its client, as it was written, and what its server got wrong.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    article::{Frame, Go, Nodes, Peer},
    client::Client,
    gateway::{Config, SECRET, dev_gateway},
    token::{self, claims, hs256, merged},
    upgrade::Upgrade,
};
use serde_json::json;

/// For what must not happen.
const A_WHILE: Duration = Duration::from_millis(500);

async fn its_client_is_served(nodes: &Nodes) {
    let mut alice = Go::dial("article003", nodes.first(), "/hub").await;
    let mut bob = Go::dial("article003", nodes.last(), "/hub").await;
    for (client, user) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        // The login comes back as it was.
        let login = format!(
            r#"{{ "token": "{}", "x": 1}}"#,
            token::dev_with(user, &json!({"broadcast": true}))
        );
        client.say(&login).await;
        client.hears(&format!("text {login}")).await;
    }
    alice.say(r#"{"ToUserID":"bob", "msg" : {"any":["JSON", 1.50]}}"#).await;
    bob.hears(r#"text {"ToUserID":"bob", "msg" : {"any":["JSON", 1.50]}}"#)
        .await;
    // One frame for each message, in order.
    for n in 0..50 {
        alice.say(&format!(r#"{{"ToUserID":"bob","n":{n}}}"#)).await;
    }
    for n in 0..50 {
        bob.hears(&format!(r#"text {{"ToUserID":"bob","n":{n}}}"#)).await;
    }
    bob.say(r#"{"horn":"big"}"#).await;
    alice.hears(r#"text {"horn":"big"}"#).await;
    bob.hears(r#"text {"horn":"big"}"#).await;
    alice.say("{no JSON").await;
    assert!(alice.next().await.starts_with(r#"text {"error":{"code":"bad_request""#));
    alice.say(r#"{"ToUserID":"bob","after":true}"#).await;
    bob.hears(r#"text {"ToUserID":"bob","after":true}"#).await;
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn its_client_is_served_by_one_node() {
    its_client_is_served(&Nodes::one().await).await;
}

#[tokio::test]
async fn its_client_is_served_by_two_nodes() {
    its_client_is_served(&Nodes::two().await).await;
}

#[tokio::test]
async fn nobody_hears_or_says_anything_before_the_login() {
    let gateway = Config {
        rest: "[dialects.hub]\npaths = ['/hub']\n".to_owned(),
        limits: "connect_timeout = '2s'\n".to_owned(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let address = gateway.public();
    let login = |user: &str, broadcast: bool| {
        let claims = merged(claims(user), &json!({"broadcast": broadcast}));
        json!({"token": hs256(SECRET, &claims)}).to_string()
    };
    let mut silent = Peer::open(address, "/hub").await;
    let mut crier = Peer::open(address, "/hub").await;
    crier.text(&login("crier", true)).await;
    crier.next_text().await;
    crier.text(r#"{"horn":1}"#).await;
    assert_eq!(crier.next_text().await, r#"{"horn":1}"#);
    assert_eq!(silent.next().await, Frame::Closed(4101), "nothing was heard before");

    for (first, code) in [
        (r#"{"ToUserID":"crier"}"#.to_owned(), 4100),
        (r#"{"UserID":"crier"}"#.to_owned(), 4100),
        (json!({"token": token::dev("crier")}).to_string(), 4100),
        // It would come back, which says that the login holds.
        (
            json!({"token": hs256(SECRET, &claims("plain")), "UserID": "crier"}).to_string(),
            4100,
        ),
        ("{".to_owned(), 4104),
    ] {
        let mut peer = Peer::open(address, "/hub").await;
        peer.text(&first).await;
        assert_eq!(peer.closed().await, code, "{first}");
    }
    let bad = Upgrade::to(address).path("/hub").query("token", "bad").open().await;
    assert_eq!(bad.err(), Some(401));
    // Without the claim there is no big horn; and a token is never passed on.
    let mut plain = Peer::open(address, "/hub").await;
    plain.text(&login("plain", false)).await;
    plain.next_text().await;
    plain.text(r#"{"horn":2}"#).await;
    assert!(plain.next_text().await.contains(r#""code":"forbidden""#));
    crier.text(&login("crier", true)).await;
    assert!(crier.next_text().await.contains("logged in already"));
    assert_eq!(plain.hears_within(A_WHILE).await, None);
}

/// A token of the upgrade's counts once the first frame has come.
#[tokio::test]
async fn the_login_may_show_its_token_with_the_upgrade() {
    let gateway = dev_gateway().await;
    let cookie = format!("token={}", token::dev("alice"));
    let mut alice = Peer::of(Upgrade::to(gateway.public()).path("/hub").header("Cookie", &cookie)).await;
    alice.text(r#"{"hello":1}"#).await;
    assert_eq!(alice.next_text().await, r#"{"hello":1}"#);
    alice.text(r#"{"ToUserID":"alice"}"#).await;
    assert_eq!(alice.next_text().await, r#"{"ToUserID":"alice"}"#);
}

/// The original forgets the newer login, and panics on others.
#[tokio::test]
async fn an_old_connections_end_leaves_the_newer_login_alone() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let mut old = Go::dial("article003", address, "/hub").await;
    let mut new = Peer::open(address, "/hub").await;
    old.say(r#"{"UserID":"bob"}"#).await;
    old.hears(r#"text {"UserID":"bob"}"#).await;
    new.text(r#"{"UserID":"bob"}"#).await;
    new.next_text().await;
    old.close().await;
    let mut native = Client::dev(address, "alice").await;
    native.say(json!({"user": "bob"}), json!("hello")).await;
    let text = new.next_text().await;
    assert!(
        text.contains(r#""from":"alice""#) && text.contains(r#""body":"hello""#),
        "{text}"
    );
    new.text(r#"{"ToUserID":"nobody"}"#).await;
    new.text(r#"{"ToUserID":"alice","n":1}"#).await;
    assert_eq!(
        native.next_message().await["body"],
        json!({"ToUserID": "alice", "n": 1})
    );
}
