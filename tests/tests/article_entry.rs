//! How clients of the articles come in: whoever its upgrade names is there once it has the 101, and who is not let in is
//! told so by an HTTP status.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    article::{Frame, Nodes, Peer},
    client::Client,
    cluster::Cluster,
    eventually,
    gateway::{Config, dev_gateway},
    metrics::Metrics,
    upgrade::Upgrade,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const TIMES: u64 = 100;

/// What is said as soon as the 101 has come is heard: stored or not, by a number of the hubs' or by a push.
async fn nothing_is_missed_from_the_101_on(nodes: &Nodes) {
    let mut native = Client::dev(nodes.first(), "alice").await;
    for n in 0..TIMES {
        let (number, name) = ((1000 + n).to_string(), format!("u{n}"));
        let mut hub = Peer::open(nodes.last(), &format!("/ws/{number}")).await;
        native.say(json!({"user": number}), json!("stored")).await;
        assert!(hub.next_text().await.ends_with(r#""content":"stored"}"#), "{n}");

        let mut service = Peer::open(nodes.last(), &format!("/serv/?user={name}")).await;
        native.say(json!({"user": name}), json!("stored")).await;
        let frame = service.next_binary().await;
        assert!(String::from_utf8_lossy(&frame).contains(r#""body":"stored""#), "{n}");

        // One that is not stored is given to those who are there.
        let mut hub = Peer::open(nodes.last(), &format!("/ws/{}", 5000 + n)).await;
        let live = json!({"send": {"to": {"user": (5000 + n).to_string()}, "body": "live", "durable": false}});
        native.ask(live, "sent").await;
        assert!(hub.next_text().await.ends_with(r#""content":"live"}"#), "{n}");
    }
}

#[tokio::test]
async fn nothing_is_missed_from_the_101_on_by_one_node() {
    nothing_is_missed_from_the_101_on(&Nodes::one().await).await;
}

#[tokio::test]
async fn nothing_is_missed_from_the_101_on_by_two_nodes() {
    nothing_is_missed_from_the_101_on(&Nodes::two().await).await;
}

fn number(frame: &str) -> u64 {
    let frame: Value = serde_json::from_str(frame).unwrap();
    frame["content"].as_str().unwrap().parse().unwrap()
}

/// Who comes back is behind, and gets all of it, what is said at this moment too, each once and in order.
#[tokio::test]
async fn what_was_missed_comes_before_what_is_said_at_the_101() {
    let nodes = Nodes::two().await;
    let mut native = Client::dev(nodes.first(), "alice").await;
    drop(Peer::open(nodes.first(), "/ws/7").await);
    let mut said = 0_u64;
    for _ in 0..20 {
        for _ in 0..5 {
            native.say(json!({"user": "7"}), json!(said.to_string())).await;
            said += 1;
        }
        let mut seven = Peer::open(nodes.last(), "/ws/7").await;
        native.say(json!({"user": "7"}), json!(said.to_string())).await;
        said += 1;
        // What it has not proved yet comes again, of what was before.
        let first = number(&seven.next_text().await);
        assert!(first <= said - 6, "{first} of {said}");
        for n in first + 1..said {
            assert_eq!(number(&seven.next_text().await), n, "of {said}");
        }
    }
}

#[tokio::test]
async fn one_connection_too_many_is_an_http_status() {
    let gateway = Config {
        rest: "[dialects.ws-id]\npaths = ['/ws/{id}']\ntrust_url_id = true\n".to_owned(),
        limits: "connections_per_user = 1\n".to_owned(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let address = gateway.public();
    let mut first = Peer::open(address, "/ws/7").await;
    assert_eq!(Upgrade::to(address).path("/ws/7").open().await.err(), Some(429));
    first.text(r#"{"type":0}"#).await;
    assert!(first.next_text().await.contains("connected"));
    drop(first);
    eventually("there is room again", async || {
        Upgrade::to(address).path("/ws/7").open().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn without_a_cluster_it_is_an_http_status() {
    let mut cluster = Cluster::start(1, 1).await;
    let address = cluster.gateways[0].public();
    let mut before = Peer::open(address, "/ws/1").await;
    cluster.nats.stop();
    assert_eq!(Upgrade::to(address).path("/ws/2").open().await.err(), Some(503));
    // Who was there stays.
    assert_eq!(before.hears_within(Duration::from_millis(500)).await, None);
    cluster.nats.start_again().await;
    eventually("they are let in again", async || {
        Upgrade::to(address).path("/ws/2").open().await.is_ok()
    })
    .await;
    before.text(r#"{"type":0}"#).await;
    assert!(matches!(before.next().await, Frame::Text(text) if text.contains("connected")));
}

/// One who goes before it has the 101 leaves nothing behind.
#[tokio::test]
async fn who_goes_before_the_101_is_gone() {
    let gateway = dev_gateway().await;
    for n in 0..50 {
        let mut socket = TcpStream::connect(gateway.public()).await.unwrap();
        let request = format!(
            "GET /ws/{n} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        drop(socket);
    }
    let online = async |n: u64| {
        let asked = json!({"users": [n.to_string()]});
        let told = herald_tests::http::post(
            gateway.admin(),
            "/api/v1/presence",
            herald_tests::http::DEV_API_KEY,
            &asked,
        )
        .await;
        told.json()["users"][n.to_string()]["online"] == true
    };
    eventually("nobody is there", async || {
        let metrics = Metrics::of(gateway.admin()).await;
        let count = |state| {
            metrics.get(&format!(
                "herald_gateway_connections{{dialect=\"ws-id\",state=\"{state}\"}}"
            ))
        };
        let none = ["connecting", "connected", "closing"]
            .iter()
            .all(|state| count(state) == 0.0);
        none && !online(0).await && !online(49).await
    })
    .await;
}
