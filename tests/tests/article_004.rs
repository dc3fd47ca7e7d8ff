//! Article 004: its client, as it was written, and what its server got wrong.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    article::{Frame, Go, Nodes, Peer},
    client::Client,
    gateway::{Config, SECRET, dev_gateway},
    http,
    token::{self, claims, hs256, merged},
    upgrade::Upgrade,
};
use serde_json::json;

/// For what must not happen.
const A_WHILE: Duration = Duration::from_millis(500);

/// A client that is known to be connected: an upgrade is answered before.
async fn connected(address: SocketAddr, id: u64) -> Peer {
    let mut peer = Peer::open(address, &format!("/ws/{id}")).await;
    peer.text(r#"{"type":0}"#).await;
    assert!(peer.next_text().await.contains("connected"));
    peer
}

async fn its_client_is_served(nodes: &Nodes) {
    let mut one = Go::dial("article004", nodes.first(), "/ws/1").await;
    let mut two = Go::dial("article004", nodes.last(), "/ws/2").await;
    nodes.online("1", true).await;
    nodes.online("2", true).await;

    // The receiver gets the very bytes, the sender its receipt.
    one.say("message 1 1 2 hello <i> am ws1").await;
    let sent = r#"{"type":1,"sender":1,"receiver":2,"content":"hello \u003ci\u003e am ws1"}"#;
    two.hears(&format!("text {sent}")).await;
    one.hears(r#"text {"type":2,"sender":1,"receiver":2,"content":"success send"}"#)
        .await;

    // The article's own example: a key that its server does not know, and so no sender.
    let example = r#"{ "type": 1, "content": "hello i am ws1", "receiver": 2, "send": 1 }"#;
    one.say(&format!("binary {example}")).await;
    two.hears(&format!("text {example}")).await;
    one.hears(r#"text {"type":2,"sender":0,"receiver":2,"content":"success send"}"#)
        .await;

    one.say("message 1 1 99 anybody").await;
    one.hears(r#"text {"type":2,"sender":1,"receiver":99,"content":"not online"}"#)
        .await;

    // To oneself: the message, then the receipt, each time.
    for n in 0..20 {
        one.say(&format!("message 1 1 1 note {n}")).await;
        one.hears(&format!(
            r#"text {{"type":1,"sender":1,"receiver":1,"content":"note {n}"}}"#
        ))
        .await;
        one.hears(r#"text {"type":2,"sender":1,"receiver":1,"content":"success send"}"#)
            .await;
    }

    // To all, the sender among them, and no receipt.
    one.say("message 3 1 0 everybody").await;
    let broadcast = r#"text {"type":3,"sender":1,"receiver":0,"content":"everybody"}"#;
    one.hears(broadcast).await;
    two.hears(broadcast).await;

    one.say("message 0 1 0 ").await;
    one.hears(r#"text {"type":2,"sender":1,"receiver":0,"content":"connected"}"#)
        .await;
    two.say("message 4 2 0 ").await;
    two.hears("closed 1000").await;
    nodes.online("2", false).await;
    one.say("message 1 1 2 gone").await;
    one.hears(r#"text {"type":2,"sender":1,"receiver":2,"content":"not online"}"#)
        .await;
    one.close().await;
}

#[tokio::test]
async fn its_client_is_served_by_one_node() {
    its_client_is_served(&Nodes::one().await).await;
}

#[tokio::test]
async fn its_client_is_served_by_two_nodes() {
    its_client_is_served(&Nodes::two().await).await;
}

/// What was sent while a client was away comes when it is back, on whatever node.
#[tokio::test]
async fn who_comes_back_is_given_what_it_missed() {
    let nodes = Nodes::two().await;
    let mut one = connected(nodes.first(), 1).await;
    let away = Go::dial("article004", nodes.first(), "/ws/5").await;
    nodes.online("5", true).await;
    away.close().await;
    nodes.online("5", false).await;
    let missed = r#"{"type":1,"sender":1,"receiver":5,"content":"missed"}"#;
    one.text(missed).await;
    assert!(one.next_text().await.ends_with(r#""content":"not online"}"#));
    let mut back = Peer::open(nodes.last(), "/ws/5").await;
    assert_eq!(back.next_text().await, missed);
}

/// A number here and a text there are one person.
#[tokio::test]
async fn users_of_different_dialects_reach_each_other() {
    let nodes = Nodes::two().await;
    let mut native = Client::dev(nodes.first(), "7").await;
    let mut seven = connected(nodes.last(), 7).await;
    let mut one = connected(nodes.last(), 1).await;
    let frame = r#"{"type":1,"sender":1,"receiver":7,"content":"to 7"}"#;
    one.text(frame).await;
    assert_eq!(seven.next_text().await, frame);
    let message = native.next_message().await;
    assert_eq!((&message["from"], &message["body"]), (&json!("1"), &json!("to 7")));
    native.say(json!({"user": "1"}), json!("from 7")).await;
    native.say(json!({"user": "1"}), json!({"any": "JSON"})).await;
    // Its receipt, and then the messages.
    assert!(one.next_text().await.contains("success send"));
    assert_eq!(
        one.next_text().await,
        r#"{"type":1,"sender":7,"receiver":1,"content":"from 7"}"#
    );
    assert_eq!(
        one.next_text().await,
        r#"{"type":1,"sender":7,"receiver":1,"content":"{\"any\":\"JSON\"}"}"#
    );
}

#[tokio::test]
async fn a_frame_may_have_512_bytes() {
    let gateway = dev_gateway().await;
    let mut one = connected(gateway.public(), 1).await;
    let frame = |size: usize| {
        let (head, tail) = (r#"{"type":1,"receiver":1,"content":""#, r#""}"#);
        format!("{head}{}{tail}", "x".repeat(size - head.len() - tail.len()))
    };
    one.text(&frame(512)).await;
    assert_eq!(one.next_text().await, frame(512));
    one.text(&frame(513)).await;
    assert_eq!(one.closed().await, 1009);
}

#[tokio::test]
async fn a_request_without_an_upgrade_harms_nobody() {
    let gateway = dev_gateway().await;
    let mut one = connected(gateway.public(), 1).await;
    for (path, status) in [
        ("/ws/1", 426),
        ("/ws/abc", 426),
        ("/socket.io?user=a", 426),
        ("/hub", 426),
        ("/serv/", 426),
    ] {
        assert_eq!(http::get(gateway.public(), path).await.status, status, "{path}");
    }
    for path in [
        "/ws/abc",
        "/ws/-1",
        "/ws/1.5",
        "/ws/99999999999999999999",
        "/socket.io",
        "/socket.io?user=",
    ] {
        let refused = Upgrade::to(gateway.public()).path(path).open().await;
        assert_eq!(refused.err(), Some(400), "{path}");
    }
    one.text(r#"{"type":0}"#).await;
    assert!(one.next_text().await.contains("connected"));
}

/// Neither by another's number in its frames, nor in its URL.
#[tokio::test]
async fn nobody_speaks_in_anothers_name() {
    let gateway = Config {
        rest: "[dialects.ws-id]\npaths = ['/ws/{id}']\n".to_owned(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let address = gateway.public();
    let open = |path: &str, token: Option<String>| {
        let upgrade = Upgrade::to(address).path(path);
        match token {
            Some(token) => upgrade.header("Authorization", &format!("Bearer {token}")),
            None => upgrade,
        }
    };
    let of = |user: &str| Some(hs256(SECRET, &claims(user)));
    assert_eq!(open("/ws/1", None).open().await.err(), Some(401), "a bare number");
    assert_eq!(
        open("/ws/1", Some(token::dev("1"))).open().await.err(),
        Some(401),
        "a bad token"
    );
    assert_eq!(open("/ws/1", of("2")).open().await.err(), Some(403), "another's token");
    let mut one = Peer::of(open("/ws/1", of("1"))).await;
    let mut two = Peer::of(open("/ws/2", of("2"))).await;
    one.text(r#"{"type":1,"sender":3,"receiver":2,"content":"I am 3"}"#)
        .await;
    assert_eq!(
        one.next_text().await,
        r#"{"type":2,"sender":3,"receiver":2,"content":"the sender is another user"}"#
    );
    // To all, only with the claim.
    one.text(r#"{"type":3,"content":"everybody"}"#).await;
    assert!(one.next_text().await.contains("does not allow broadcasts"));
    assert_eq!(two.hears_within(A_WHILE).await, None);
    let crier = merged(claims("3"), &json!({"broadcast": true}));
    let mut crier = Peer::of(open("/ws/3", Some(hs256(SECRET, &crier)))).await;
    crier.text(r#"{"type":3,"content":"everybody"}"#).await;
    for peer in [&mut one, &mut two, &mut crier] {
        assert_eq!(peer.next_text().await, r#"{"type":3,"content":"everybody"}"#);
    }
}

/// The original broadcasts some of it, and cuts the connection for the rest.
#[tokio::test]
async fn garbage_is_answered_and_reaches_nobody() {
    let gateway = dev_gateway().await;
    let mut one = connected(gateway.public(), 1).await;
    let mut two = connected(gateway.public(), 2).await;
    for garbage in [
        "",
        "{",
        "[]",
        "null",
        "7",
        r#"{"type":"1"}"#,
        r#"{"type":-1}"#,
        r#"{"type":2,"content":"I am the system"}"#,
        r#"{"type":5}"#,
        r#"{"type":1,"receiver":2,"content":7}"#,
        r#"{"type":1,"receiver":2,"content":"\ud800"}"#,
        r#"{"type":1,"receiver":99999999999999999999}"#,
    ] {
        one.text(garbage).await;
        assert!(one.next_text().await.starts_with(r#"{"type":2,"#), "{garbage}");
    }
    one.binary(b"\xff\xfe").await;
    assert!(one.next_text().await.starts_with(r#"{"type":2,"#));
    assert_eq!(two.hears_within(A_WHILE).await, None);
    one.text(r#"{"TYPE":1,"Receiver":2,"other":[1]}"#).await;
    assert_eq!(two.next_text().await, r#"{"TYPE":1,"Receiver":2,"other":[1]}"#);
}

#[tokio::test]
async fn an_old_connections_end_leaves_the_newer_one_alone() {
    let nodes = Nodes::one().await;
    let mut one = connected(nodes.first(), 1).await;
    let old = Go::dial("article004", nodes.first(), "/ws/2").await;
    let mut new = connected(nodes.first(), 2).await;
    nodes.online("2", true).await;
    old.close().await;
    let frame = r#"{"type":1,"sender":1,"receiver":2,"content":"still there"}"#;
    one.text(frame).await;
    assert_eq!(new.next_text().await, frame);
    assert!(one.next_text().await.contains("success send"));
}

#[tokio::test]
async fn one_who_does_not_read_holds_nobody_up() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let mut one = connected(address, 1).await;
    let _stalled = Peer::of(Upgrade::to(address).path("/ws/2").narrow()).await;
    let mut three = connected(address, 3).await;
    three.text(r#"{"type":0}"#).await;
    three.next().await;
    let content = "x".repeat(400);
    for n in 0..3_000 {
        one.text(&format!(r#"{{"type":1,"receiver":2,"content":"{content}"}}"#))
            .await;
        assert!(one.next_text().await.starts_with(r#"{"type":2,"#), "{n}");
        if n % 100 == 0 {
            let frame = format!(r#"{{"type":1,"receiver":3,"content":"{n}"}}"#);
            one.text(&frame).await;
            assert!(one.next_text().await.contains("success send"));
            assert_eq!(three.next_text().await, frame);
        }
    }
}

/// As its server pings, only faster.
#[tokio::test]
async fn one_who_is_silent_is_gone_after_a_ping() {
    let gateway = Config {
        rest: "[dialects.ws-id]\npaths = ['/ws/{id}']\nping_interval = '1s'\npong_timeout = '500ms'\ntrust_url_id = true\n"
            .to_owned(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let mut silent = connected(gateway.public(), 1).await;
    let mut alive = connected(gateway.public(), 2).await;
    // Reading is what answers pings.
    assert_eq!(
        alive.hears_within(Duration::from_secs(4)).await,
        None,
        "it answers, and stays"
    );
    // What it then sends as an answer may come too late to be told why.
    let end = silent.next().await;
    assert!(matches!(end, Frame::Closed(4003) | Frame::Lost), "{end:?}");
}
