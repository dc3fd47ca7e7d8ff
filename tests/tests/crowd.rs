//! How many connections a user may have, on all nodes together, and which go where there are more.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    client::{Client, Upgrade},
    cluster::Cluster,
    gateway::{Config, SECRET, file},
    process::Node,
    token,
};
use serde_json::json;

async fn connect(address: SocketAddr, token: &str, device: &str) -> Client {
    let upgrade = Upgrade::to(address).text("token", token);
    match device {
        "" => upgrade.connect().await,
        device => upgrade.query("device", device).connect().await,
    }
}

/// The code with which a new connection is closed at once.
async fn refused(address: SocketAddr, token: &str) -> u16 {
    let (mut client, _) = Upgrade::to(address).text("token", token).open().await.unwrap();
    client.closed().await
}

async fn lives(client: &mut Client) {
    assert_eq!(client.ask(json!({"ping": {}}), "pong").await, json!({}));
}

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

async fn alone(limits: &str) -> Node {
    let config = Config {
        limits: limits.into(),
        ..Config::default()
    };
    config.start().await
}

/// Two gateways with these limits over one NATS.
async fn two(limits: &str) -> (Cluster, [Node; 2]) {
    let cluster = Cluster::start(1, 0).await;
    let config = format!("[limits]\n{limits}\n");
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let file = file(&config);
        let path = file.path().to_str().unwrap().to_owned();
        let url = cluster.nats.url();
        let free = herald_tests::gateway::FREE;
        let arguments = [
            "--config", &path, "--dev", "--nats", &url, "--listen", free, "--admin", free,
        ];
        let mut node = Node::spawn("herald-gateway", arguments);
        node.files.push(file);
        node.ready().await;
        node.listens("public").await;
        gateways.push(node);
    }
    (cluster, gateways.try_into().ok().unwrap())
}

#[tokio::test]
async fn one_too_many_is_refused_and_the_others_live_on() {
    let gateway = alone("connections_per_user = 2").await;
    let token = good("bob");
    let mut one = connect(gateway.public(), &token, "").await;
    let two = connect(gateway.public(), &token, "").await;
    assert_eq!(refused(gateway.public(), &token).await, 4105);
    let (mut client, _) = Upgrade::to(gateway.public()).open().await.unwrap();
    assert_eq!(client.refused(json!({"connect": {"token": token}})).await, "forbidden");
    assert_eq!(client.closed().await, 4105);
    lives(&mut one).await;
    two.close().await;
    let mut third = connect(gateway.public(), &token, "").await;
    lives(&mut third).await;
    connect(gateway.public(), &good("eve"), "").await;
}

#[tokio::test]
async fn the_oldest_makes_way_on_whatever_node_it_is() {
    let (_cluster, gateways) = two("connections_per_user = 2\nbeyond_connections_per_user = 'replace_oldest'").await;
    let [one, two] = [gateways[0].public(), gateways[1].public()];
    let token = token::dev("bob");
    let mut first = connect(one, &token, "").await;
    let mut second = connect(two, &token, "").await;
    // What another node has is known of a moment after it has come.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut third = connect(two, &token, "").await;
    assert_eq!(first.closed().await, 4103);
    lives(&mut second).await;
    lives(&mut third).await;
}

#[tokio::test]
async fn a_device_has_one_connection_wherever_it_comes_back() {
    let (_cluster, gateways) = two("one_connection_per_device = true").await;
    let [one, two] = [gateways[0].public(), gateways[1].public()];
    let token = token::dev("bob");
    let mut desk = connect(two, &token, "desk").await;
    let mut nameless = connect(one, &token, "").await;
    let mut phone = connect(one, &token, "phone").await;
    for address in [two, one, one, two, one] {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let new = connect(address, &token, "phone").await;
        assert_eq!(phone.closed().await, 4103);
        phone = new;
        lives(&mut phone).await;
    }
    lives(&mut desk).await;
    lives(&mut nameless).await;
}
