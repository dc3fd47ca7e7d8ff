//! Article 002: its clients and gorilla's echo client, as they were written; and what its server got wrong. Behind proxies:
//! `fronted`.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use herald_tests::{
    article::{
        Nodes, Peer,
        service::{the_echo_client_is_served, the_service_client_is_served},
    },
    client::Client,
    eventually,
    gateway::{Config, FREE, SECRET, dev_gateway, dev_gateway_with, file},
    raw::{FIN, PING, PONG, Raw},
    token::{claims, hs256},
    upgrade::Upgrade,
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message, protocol::CloseFrame};

#[tokio::test]
async fn its_clients_are_served_by_one_node() {
    let nodes = Nodes::one().await;
    the_echo_client_is_served(nodes.first()).await;
    the_service_client_is_served(nodes.first()).await;
}

#[tokio::test]
async fn its_clients_are_served_by_two_nodes() {
    let nodes = Nodes::two().await;
    for address in [nodes.first(), nodes.last()] {
        the_echo_client_is_served(address).await;
        the_service_client_is_served(address).await;
    }
}

/// With an error frame each: the opcode, where there is one, and why.
#[tokio::test]
async fn what_is_no_request_is_answered_with_an_error_frame() {
    let gateway = dev_gateway().await;
    let mut peer = Peer::open(gateway.public(), "/serv/").await;
    let error = |frame: Vec<u8>| {
        assert_eq!(frame[..4], [0xff; 4]);
        let value: Value = serde_json::from_slice(&frame[4..]).unwrap();
        assert!(value["message"].is_string(), "{value}");
        (value["opcode"].clone(), value["code"].clone())
    };
    for short in [&b""[..], b"\x00", b"\x00\x00\x00"] {
        peer.binary(short).await;
        assert_eq!(error(peer.next_binary().await), (Value::Null, json!("bad_request")));
    }
    for _ in 0..20 {
        peer.text("text").await;
        assert_eq!(error(peer.next_binary().await), (Value::Null, json!("bad_request")));
    }
    peer.binary(b"\x00\x00\x00\x07abc").await;
    assert_eq!(error(peer.next_binary().await), (json!(7), json!("not_found")));
    peer.binary(b"\x00\x00\x00\x6eabc").await;
    assert_eq!(peer.next_binary().await, b"\x00\x00\x00\x6eabc");
}

/// A message to the user is a frame with an opcode of its own.
#[tokio::test]
async fn messages_come_with_the_opcode_of_pushes() {
    let config = file("[dialects.opcode]\npush_opcode = 258\n");
    let gateway = dev_gateway_with(&["--config", config.path().to_str().unwrap()]).await;
    let mut peer = Peer::open(gateway.public(), "/serv/?user=bob").await;
    // It is answered once it is connected.
    peer.binary(b"\x00\x00\x00\x6e").await;
    peer.next_binary().await;
    let mut native = Client::dev(gateway.public(), "alice").await;
    native.say(json!({"user": "bob"}), json!({"a": 1})).await;
    let frame = peer.next_binary().await;
    assert_eq!(frame[..4], [0, 0, 1, 2]);
    let message: Value = serde_json::from_slice(&frame[4..]).unwrap();
    assert_eq!(
        (&message["from"], &message["body"]),
        (&json!("alice"), &json!({"a": 1}))
    );
}

#[tokio::test]
async fn foreign_origins_and_strangers_stay_outside() {
    let gateway = Config {
        rest: "[dialects.echo]\npaths = ['/echo', '/other/echo']\n[dialects.opcode]\npaths = ['/serv/']\n".to_owned(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let address = gateway.public();
    let open = |path: &str| Upgrade::to(address).path(path);
    let foreign = open("/echo").header("Origin", "https://elsewhere.example");
    assert_eq!(foreign.open().await.err(), Some(403));
    assert_eq!(open("/echo").open().await.err(), Some(401));
    assert_eq!(open("/serv/").open().await.err(), Some(401));
    assert_eq!(open("/hub").open().await.err(), Some(404), "off unless configured");
    // By header or cookie.
    let token = hs256(SECRET, &claims("alice"));
    let mut one = Peer::of(open("/other/echo").header("Authorization", &format!("Bearer {token}"))).await;
    one.text("hello").await;
    assert_eq!(one.next_text().await, "hello");
    let mut two = Peer::of(open("/serv/").header("Cookie", &format!("a=b; token={token}"))).await;
    two.binary(b"\x00\x00\x00\x07").await;
    assert!(two.next_binary().await.starts_with(&[0xff; 4]));
}

#[tokio::test]
async fn a_dialect_may_be_served_on_one_address_only() {
    let free = TcpListener::bind(FREE).unwrap().local_addr().unwrap();
    let config = file(&format!("[dialects.echo]\npaths = ['/echo']\nlisten = '{free}'\n"));
    let articles = free.to_string();
    let arguments = ["--config", config.path().to_str().unwrap(), "--listen", &articles];
    let mut gateway = dev_gateway_with(&arguments).await;
    eventually("both listen", async || gateway.listeners() == 3).await;
    gateway.ready().await;
    for address in gateway.all("public") {
        let opened = Upgrade::to(address).path("/echo").open().await;
        assert_eq!(opened.err(), (address != free).then_some(404), "{address}");
        Peer::open(address, "/serv/").await;
    }
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let gateway = dev_gateway().await;
    for path in ["/echo", "/serv/"] {
        for (code, answered) in [(Some(1000), 1000), (Some(3001), 3001), (None, 1005)] {
            let mut peer = Peer::open(gateway.public(), path).await;
            peer.raw(Message::Ping(Bytes::from_static(b"p"))).await;
            let close = code.map(|code: u16| CloseFrame {
                code: code.into(),
                reason: "".into(),
            });
            peer.raw(Message::Close(close)).await;
            assert_eq!(peer.closed().await, answered, "{path}");
        }
    }
}

/// In each dialect: what a ping carries comes back.
#[tokio::test]
async fn a_ping_is_answered_with_a_pong() {
    let gateway = dev_gateway().await;
    for path in ["/echo", "/serv/", "/socket.io?user=a", "/hub", "/ws/1"] {
        let mut raw = Raw::open(gateway.public(), path, &[]).await;
        raw.frame(FIN | PING, b"any bytes").await;
        loop {
            let frame = raw.read().await.expect("the connection stands");
            if frame.first == FIN | PONG {
                assert_eq!(frame.payload, b"any bytes", "{path}");
                break;
            }
        }
    }
}
