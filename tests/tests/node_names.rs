//! Nodes have names of their own: of two gateways with one name the second ends, and the first's users do not notice.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    client::Client,
    cluster::Cluster,
    gateway::{FREE, file},
    process::Node,
};
use serde_json::json;

fn named(nats: &str) -> Node {
    let config = file("node = \"gateway-1\"\ndrain = \"1s\"");
    let path = config.path().to_str().unwrap().to_owned();
    let listeners = [
        "--dev", "--listen", FREE, "--admin", FREE, "--nats", nats, "--config", &path,
    ];
    let mut node = Node::spawn("herald-gateway", listeners);
    node.files.push(config);
    node
}

#[tokio::test]
async fn a_second_gateway_of_one_name_refuses_to_start() {
    let cluster = Cluster::start(1, 1).await;
    let nats = cluster.nats.url();
    let mut first = named(&nats);
    first.ready().await;
    first.listens("public").await;
    let _bob = Client::dev(first.public(), "bob").await;
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    let states = alice.ask(json!({"watch": {"users": ["bob"]}}), "watching").await;
    assert_eq!(states["users"]["bob"]["online"], true);

    let mut second = named(&nats);
    assert_eq!(second.exit().await.code(), Some(1));
    let log = second.log();
    assert!(log.contains("another gateway runs under the name gateway-1"), "{log}");
    assert!(first.running());
    assert!(!alice.hears("presence", Duration::from_secs(4)).await);
}

#[tokio::test]
async fn a_gateway_takes_its_name_back_after_a_crash() {
    let cluster = Cluster::start(1, 1).await;
    let nats = cluster.nats.url();
    let mut node = named(&nats);
    node.ready().await;
    node.listens("public").await;
    let _bob = Client::dev(node.public(), "bob").await;
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    alice.ask(json!({"watch": {"users": ["bob"]}}), "watching").await;
    node.kill();
    let mut node = named(&nats);
    node.ready().await;
    node.listens("public").await;
    // He was never gone for long.
    let _bob = Client::dev(node.public(), "bob").await;
    assert!(!alice.hears("presence", Duration::from_secs(4)).await);
}
