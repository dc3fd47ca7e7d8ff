//! Behind the deployed configurations of the real nginx and the real haproxy all paths are served: clients of each
//! article, native ones, and those who only POST.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use herald_tests::{
    article::{
        Go, Nodes, Peer,
        service::{the_echo_client_is_served, the_service_client_is_served},
    },
    client::{Client, Dialect},
    events::Events,
    eventually,
    haproxy::Haproxy,
    http,
    nginx::Nginx,
    poller::{Poller, post},
    short, token,
    upgrade::Upgrade,
};
use serde_json::json;

async fn every_path_is_served(address: SocketAddr) {
    the_echo_client_is_served(address).await;
    the_service_client_is_served(address).await;

    let mut im = Go::dial("article001", address, "/socket.io?user=alice").await;
    im.hears("from=System to=alice content=welcome! type=0//0 name= file=0")
        .await;
    im.say("say alice alice 1 hello").await;
    im.hears("from=alice to=alice content=hello type=1//1 name=name of alice file=0")
        .await;
    // As large as frames may be, which for a proxy are only bytes.
    im.say("file alice alice 1000000").await;
    im.hears("from=alice to=alice content=a.bin type=2//1 name= file=1000000")
        .await;
    im.close().await;

    let mut hub = Go::dial("article003", address, "/hub").await;
    hub.say(r#"{"UserID":"bob"}"#).await;
    hub.hears(r#"text {"UserID":"bob"}"#).await;
    let mut ws_id = Go::dial("article004", address, "/ws/7").await;
    ws_id.say("message 1 7 7 hello").await;
    ws_id
        .hears(r#"text {"type":1,"sender":7,"receiver":7,"content":"hello"}"#)
        .await;
    ws_id
        .hears(r#"text {"type":2,"sender":7,"receiver":7,"content":"success send"}"#)
        .await;
    ws_id.close().await;

    for dialect in Dialect::BOTH {
        let mut native = Client::with_token(address, dialect, &token::dev("carol")).await;
        native.say(json!({"user": "bob"}), json!(1)).await;
        assert!(hub.next().await.contains(r#""from":"carol""#));
    }
    hub.close().await;

    // The gateways' own refusals come through.
    assert_eq!(Upgrade::to(address).path("/ws/abc").open().await.err(), Some(400));
    assert_eq!(http::get(address, "/ws/7").await.status, 426);
    assert_eq!(http::get(address, "/nothing").await.status, 404);

    // Those who only POST, from login to logout.
    let token = short::logged_in(address, "dave").await;
    let answer = short::message(address, &token, short::REQ_MY_DATA, b"mine").await;
    assert_eq!(
        short::opened(&answer),
        (u64::from(short::REQ_MY_DATA), b"mine".to_vec())
    );
    let refreshed = short::refresh(address, &token).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let token = short::token(&refreshed);
    let mut events = Events::dev(address, &token).await;
    let mut poller = Poller::begun(address, "dave", &token).await;
    let said = json!({"send": {"to": {"user": "dave"}, "body": "to myself"}});
    assert_eq!(post(address, "/command", &token, &said).await.status, 200);
    assert_eq!(events.named("message").await["message"]["body"], "to myself");
    assert_eq!(poller.poll(address, 20).await, 1);
    assert_eq!(short::post(address, "/logout", &token, b"").await.status, 200);
    assert_eq!(short::refresh(address, &token).await.status, 401);
}

#[tokio::test]
async fn every_path_is_served_behind_nginx() {
    let nodes = Nodes::two().await;
    let nginx = Nginx::start(&[nodes.first(), nodes.last()]).await;
    every_path_is_served(nginx.address).await;
    let log = nginx.log();
    assert!(
        log.contains("GET /ws 101 ") && log.contains("POST /message 200 "),
        "{log}"
    );
    assert!(!log.contains("token") && !log.contains("eyJ"), "{log}");
}

#[tokio::test]
async fn every_path_is_served_behind_haproxy() {
    let nodes = Nodes::two().await;
    let haproxy = Haproxy::deployed(&nodes.addresses()).await;
    // Once it has asked whether they are ready.
    eventually("haproxy lets clients through", async || {
        http::get(haproxy.address, "/nothing").await.status == 404
    })
    .await;
    every_path_is_served(haproxy.address).await;
    let log = haproxy.log();
    assert!(
        log.contains("GET /ws 101 ") && log.contains("POST /message 200 "),
        "{log}"
    );
    assert!(!log.contains("token") && !log.contains("eyJ"), "{log}");
}

/// A node that ends gracefully loses its clients, who come back to the other by the same address.
#[tokio::test]
async fn clients_of_a_node_that_ends_come_back_to_another_behind_haproxy() {
    let mut nodes = Nodes::two().await;
    let haproxy = Haproxy::deployed(&nodes.addresses()).await;
    let mut native = Client::dev(nodes.last(), "alice").await;
    eventually("haproxy lets clients through", async || {
        http::get(haproxy.address, "/nothing").await.status == 404
    })
    .await;
    let mut peers = Vec::new();
    for n in 1..=4 {
        peers.push(Peer::open(haproxy.address, &format!("/ws/{n}")).await);
    }
    nodes.drain_first();
    nodes.first_has_ended().await;
    for n in 1..=4 {
        native.say(json!({"user": n.to_string()}), json!("after")).await;
    }
    let mut moved = 0;
    for (n, peer) in (1..=4).zip(&mut peers) {
        let text = match peer.next().await {
            herald_tests::article::Frame::Text(text) => text,
            _ => {
                moved += 1;
                *peer = Peer::open(haproxy.address, &format!("/ws/{n}")).await;
                peer.next_text().await
            }
        };
        assert!(text.ends_with(r#""content":"after"}"#), "{text}");
    }
    assert!((1..4).contains(&moved), "{moved} were on the node that ended");
}
