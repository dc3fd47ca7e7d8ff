//! The life of a connection: pings, limits, slow readers, closing; and what is left of it when it has gone.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    client::{Client, Dialect, Event, Upgrade},
    gateway::{Config, SECRET, dev_gateway, dev_gateway_with},
    http,
    metrics::Metrics,
    process::Node,
    raw::{CLOSE, FIN, PING, PONG, Raw, TEXT},
    token,
};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

async fn limited(limits: &str) -> Node {
    let config = Config {
        limits: limits.into(),
        router: r#"client_join = ["*"]"#.into(),
        ..Config::default()
    };
    config.start().await
}

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

fn path(user: &str) -> String {
    format!("/ws?token={}", good(user))
}

async fn client(gateway: &Node, user: &str) -> Client {
    Client::with_token(gateway.public(), Dialect::Json, &good(user)).await
}

#[tokio::test]
async fn a_client_that_never_answers_pings_is_closed_with_4003() {
    let gateway = limited("ping_interval = \"600ms\"\npong_timeout = \"300ms\"").await;
    let mut dead = Raw::open(gateway.public(), &path("dead"), &[]).await;
    let connected = dead.read().await.expect("connected");
    assert_eq!(connected.first, FIN | TEXT);
    let ping = dead.read().await.expect("a ping");
    assert_eq!(ping.first, FIN | PING);
    assert_eq!(dead.closed().await, 4003);
}

/// Pings often, and waits for its answer less long than that.
const QUICK_PINGS: &str = "ping_interval = \"1s\"\npong_timeout = \"700ms\"";

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let gateway = limited(QUICK_PINGS).await;
    let mut alice = Raw::open(gateway.public(), &path("alice"), &[]).await;
    let mut pings = 0;
    while pings < 4 {
        let frame = alice.read().await.expect("the connection stands");
        assert_ne!(frame.first, FIN | CLOSE);
        if frame.first == FIN | PING {
            pings += 1;
            alice.frame(FIN | PONG, &frame.payload).await;
        }
    }
}

#[tokio::test]
async fn any_frame_is_a_sign_of_life() {
    let gateway = limited(QUICK_PINGS).await;
    let mut alice = Raw::open(gateway.public(), &path("alice"), &[]).await;
    alice.json().await;
    let mut pings = 0;
    while pings < 4 {
        // It answers no ping, but it is never silent for long.
        alice.text(r#"{"id":1,"ping":{}}"#).await;
        loop {
            let frame = alice.read().await.expect("the connection stands");
            assert_ne!(frame.first, FIN | CLOSE);
            if frame.first == FIN | TEXT {
                break;
            }
            pings += usize::from(frame.first == FIN | PING);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_websocket_ping_gets_its_payload_back() {
    let gateway = dev_gateway().await;
    let mut alice = Raw::open(gateway.public(), &format!("/ws?token={}", token::dev("alice")), &[]).await;
    alice.read().await.expect("connected");
    for payload in [b"".as_slice(), b"x", &[7; 125]] {
        alice.frame(FIN | PING, payload).await;
        let pong = alice.read().await.expect("a pong");
        assert_eq!((pong.first, pong.payload.as_slice()), (FIN | PONG, payload));
    }
}

#[tokio::test]
async fn a_close_is_echoed_and_ends_the_connection() {
    let gateway = dev_gateway().await;
    for code in [1000_u16, 1001, 4321] {
        let mut alice = Raw::open(gateway.public(), &format!("/ws?token={}", token::dev("alice")), &[]).await;
        alice.read().await.expect("connected");
        alice.frame(FIN | CLOSE, &code.to_be_bytes()).await;
        assert_eq!(alice.closed().await, code);
        assert!(alice.read().await.is_none(), "nothing after the close");
    }
}

#[tokio::test]
async fn the_ping_verb_is_answered() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        assert_eq!(alice.ask(json!({"ping": {}}), "pong").await, json!({}));
    }
}

const SMALL_OUTBOX: &str =
    "frame = \"16KiB\"\noutbox = \"64KiB\"\ncommands_per_second = 100000\ncommands_burst = 100000";
/// 1,000 frames of this size are more than the kernel and an outbox of 64 KiB take in for one who does not read.
const BULK: usize = 8 << 10;
const BULK_COUNT: usize = 1_000;

/// `count` group messages of [`BULK`] bytes, at the pace of their answers.
async fn pour(sender: &mut Client, count: usize, durable: bool) {
    let body = "x".repeat(BULK);
    for _ in 0..count {
        let send = json!({"to": {"group": "g1"}, "body": body, "durable": durable});
        sender.ask(json!({"send": send}), "sent").await;
        // The sender is a member too, and reads what it gets.
        sender.next_message().await;
    }
}

async fn narrow_member(gateway: &Node) -> Raw {
    let mut slow = Raw::narrow(gateway.public(), &path("slow")).await;
    slow.read().await.expect("connected");
    slow.text(r#"{"id":1,"join":{"group":"g1"}}"#).await;
    while slow.json().await["id"] != 1 {}
    slow
}

#[tokio::test]
async fn a_slow_reader_is_closed_with_4001_while_its_neighbours_go_on() {
    let gateway = limited(SMALL_OUTBOX).await;
    let mut slow = narrow_member(&gateway).await;
    let mut sender = client(&gateway, "sender").await;
    let mut neighbour = client(&gateway, "neighbour").await;
    sender.join("g1").await;
    neighbour.join("g1").await;
    let mut given_up = false;
    for _ in 0..BULK_COUNT {
        pour(&mut sender, 1, true).await;
        neighbour.next_message().await;
        given_up = connections(&gateway).await == 2.0;
        if given_up {
            break;
        }
    }
    assert!(given_up, "the slow reader was never given up");
    // Nobody waits long for it to hear why, so it reads now.
    assert_eq!(slow.closed().await, 4001);
    neighbour.ask(json!({"ping": {}}), "pong").await;
}

/// What the gateway counts as connected.
async fn connections(gateway: &Node) -> f64 {
    let metrics = Metrics::of(gateway.admin()).await;
    metrics.sum("herald_gateway_connections", &["state=\"connected\""])
}

#[tokio::test]
async fn a_slow_reader_misses_ephemeral_messages_and_stays() {
    let gateway = limited(SMALL_OUTBOX).await;
    let mut slow = narrow_member(&gateway).await;
    let mut sender = client(&gateway, "sender").await;
    sender.join("g1").await;
    pour(&mut sender, BULK_COUNT, false).await;
    slow.text(r#"{"id":2,"ping":{}}"#).await;
    let mut heard = 0;
    loop {
        let frame = slow.json().await;
        if frame["id"] == 2 {
            break;
        }
        heard += usize::from(frame.get("message").is_some());
    }
    assert!(heard < BULK_COUNT, "the outbox has no bound");
}

#[tokio::test]
async fn ten_bad_frames_in_a_row_close_with_4104() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        let nonsense = || match dialect {
            Dialect::Json => Message::text("nonsense"),
            Dialect::Proto => Message::binary(vec![0xff; 8]),
        };
        // A good one in between ends the row.
        for _ in 0..2 {
            for _ in 0..9 {
                alice.raw(nonsense()).await;
                assert_eq!(alice.next("error").await["code"], "bad_request");
            }
            alice.ask(json!({"ping": {}}), "pong").await;
        }
        for _ in 0..10 {
            alice.raw(nonsense()).await;
        }
        assert_eq!(alice.closed().await, 4104);
    }
}

#[tokio::test]
async fn commands_beyond_the_rate_are_told_when_to_come_again() {
    let gateway = limited("commands_per_second = 10\ncommands_burst = 5").await;
    let mut alice = client(&gateway, "alice").await;
    let mut bob = client(&gateway, "bob").await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(alice.start(json!({"send": {"to": {"user": "carol"}, "body": 1}})).await);
    }
    let mut limited = Vec::new();
    for id in ids {
        let mut answer = alice.answer(id).await;
        if answer.get("error").is_some() {
            limited.push(answer["error"].take());
        }
    }
    assert!(
        (20..=35).contains(&limited.len()),
        "{} of 40 were limited",
        limited.len()
    );
    for error in &limited {
        assert_eq!(error["code"], "rate_limited");
        assert_eq!(error["retry"], true);
        assert!(
            error["after_ms"].as_u64().is_some_and(|ms| (1..=60_000).contains(&ms)),
            "{error}"
        );
    }
    // The limit is one connection's own, and passes.
    bob.ask(json!({"ping": {}}), "pong").await;
    let pause = limited.last().unwrap()["after_ms"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_millis(pause + 100)).await;
    alice.ask(json!({"ping": {}}), "pong").await;
}

#[tokio::test]
async fn one_address_opens_no_more_connections_than_allowed() {
    let gateway = limited("connections_per_address = 3").await;
    let mut clients = Vec::new();
    for i in 0..3 {
        clients.push(client(&gateway, &format!("u{i}")).await);
    }
    match Upgrade::to(gateway.public()).query("token", &good("u3")).open().await {
        Err(status) => assert!([429, 503].contains(&status), "HTTP {status}"),
        Ok((mut client, _)) => assert_eq!(client.closed().await, 4105),
    }
    for client in &mut clients {
        client.ask(json!({"ping": {}}), "pong").await;
    }
    // One goes, one may come.
    clients.pop().unwrap().close().await;
    herald_tests::eventually("a place is free", async || {
        match Upgrade::to(gateway.public()).query("token", &good("u3")).open().await {
            Ok((mut client, _)) => matches!(client.event().await, Event::Frame(_)),
            Err(_) => false,
        }
    })
    .await;
}

#[tokio::test]
async fn two_verbs_in_one_frame_are_a_bad_request() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        let both = json!({"ping": {}, "join": {"group": "g1"}});
        assert_eq!(alice.refused(both).await, "bad_request");
        assert_eq!(
            alice.refused(json!({"send": {"to": {"group": "g1"}, "body": 1}})).await,
            "forbidden",
            "neither was done"
        );
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let command = json!({"ping": {"since": 7}, "note": {"any": ["thing"]}, "trace": null});
    alice.ask(command, "pong").await;
    let send = json!({"to": {"user": "alice", "tenant": 5}, "body": 1, "colour": "red"});
    alice.ask(json!({"send": send, "v": 2}), "sent").await;
    assert_eq!(alice.next_message().await["body"], 1);
}

#[tokio::test]
async fn an_id_is_between_1_and_the_largest_of_32_bits() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    for id in [1, u64::from(u32::MAX)] {
        alice.send(&json!({"id": id, "ping": {}})).await;
        assert_eq!(alice.frame().await, json!({"id": id, "pong": {}}));
    }
    for id in [
        json!(0),
        json!(1_u64 << 32),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!([]),
        json!(1e300),
    ] {
        alice.send(&json!({"id": id, "ping": {}})).await;
        let frame = alice.frame().await;
        assert_eq!(frame["error"]["code"], "bad_request", "id {id}: {frame}");
    }
    alice.ask(json!({"ping": {}}), "pong").await;
}

#[tokio::test]
async fn a_foreign_origin_is_refused() {
    let origins = "origins = [\"https://app.example\"]";
    let gateway = Config {
        public: origins.into(),
        ..Config::default()
    }
    .start()
    .await;
    let own = format!("http://{}", gateway.public());
    let upgrade = || Upgrade::to(gateway.public()).query("token", &good("alice"));
    for fine in [
        upgrade(),
        upgrade().header("Origin", &own),
        upgrade().header("Origin", "https://app.example"),
    ] {
        assert_eq!(fine.connect().await.connected["user"], "alice");
    }
    for foreign in [
        "https://evil.example",
        "http://app.example",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "null",
        "http://127.0.0.1:1",
    ] {
        let refused = upgrade().header("Origin", foreign).open().await;
        assert_eq!(refused.err(), Some(403), "{foreign}");
    }
}

#[tokio::test]
async fn development_takes_loopback_origins_and_no_others() {
    let gateway = dev_gateway().await;
    let upgrade = || Upgrade::to(gateway.public()).query("token", &token::dev("alice"));
    for fine in ["http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:8080"] {
        upgrade().header("Origin", fine).connect().await;
    }
    for foreign in ["https://evil.example", "http://localhost.evil.example", "null"] {
        assert_eq!(
            upgrade().header("Origin", foreign).open().await.err(),
            Some(403),
            "{foreign}"
        );
    }
}

#[tokio::test]
async fn compression_is_not_agreed_to() {
    let gateway = dev_gateway().await;
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let path = format!("/ws?token={}", token::dev("alice"));
    let mut alice = Raw::open(gateway.public(), &path, &offer).await;
    assert!(alice.upgraded(), "{}", alice.head);
    assert_eq!(alice.header("Sec-WebSocket-Extensions"), None);
    assert_eq!(
        alice.header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(alice.json().await["connected"]["user"], "alice");
}

#[tokio::test]
async fn sigterm_closes_with_4000_and_ends_well() {
    let mut gateway = dev_gateway_with(&["--drain", "1s"]).await;
    let (public, admin) = (gateway.public(), gateway.admin());
    let mut alice = Client::dev(public, "alice").await;
    let mut bob = Client::with_token(public, Dialect::Proto, &token::dev("bob")).await;
    gateway.terminate();
    assert_eq!(alice.closed().await, 4000);
    assert_eq!(bob.closed().await, 4000);
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert!(tokio::net::TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn a_draining_gateway_is_not_ready() {
    let mut gateway = dev_gateway_with(&["--drain", "3s"]).await;
    let admin = gateway.admin();
    // Enough of them that closing one after another takes most of the time.
    let mut clients = Vec::new();
    for i in 0..20 {
        clients.push(Client::dev(gateway.public(), &format!("u{i}")).await);
    }
    gateway.terminate();
    herald_tests::eventually("it calls itself not ready", async || {
        http::get(admin, "/health/ready").await.status == 503
    })
    .await;
    assert!(gateway.running());
    assert_eq!(gateway.exit().await.code(), Some(0));
}
