//! How many connections a user may have, on all nodes together, and which go where there are more.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use herald_tests::{
    client::{Client, Event, Upgrade},
    cluster::{Cluster, dev_router},
    eventually,
    gateway::{Config, FREE, SECRET, file},
    http::{DEV_API_KEY, request},
    nats::NatsServer,
    process::Node,
    token,
};
use serde_json::json;
use tokio::time::Instant;

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

/// Until the routers know of this connection: what another node has they know of a moment after it has come.
async fn known(gateway: &Node, user: &str, client: &Client) {
    let path = format!("/api/v1/users/{user}");
    let bearer = format!("Bearer {DEV_API_KEY}");
    eventually("the connection is known", async || {
        let headers = [("Authorization", bearer.as_str())];
        let told = request(gateway.admin(), "GET", &path, &headers, b"").await.json();
        let connections = told["connections"].as_array().cloned().unwrap_or_default();
        connections
            .iter()
            .any(|other| other["connection"] == client.connected["connection"])
    })
    .await;
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
        let free = FREE;
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
    known(&gateways[0], "bob", &first).await;
    known(&gateways[0], "bob", &second).await;
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
        known(&gateways[0], "bob", &phone).await;
        let new = connect(address, &token, "phone").await;
        assert_eq!(phone.closed().await, 4103);
        phone = new;
        lives(&mut phone).await;
    }
    lives(&mut desk).await;
    lives(&mut nameless).await;
}

/// Each must not end the other: the last of them stay.
#[tokio::test]
async fn of_connections_that_come_at_the_same_moment_exactly_the_last_stay() {
    let limits = "one_connection_per_device = true\nconnections_per_user = 3\n\
                  beyond_connections_per_user = 'replace_oldest'";
    let gateway = alone(limits).await;
    let address = gateway.public();
    for (device, stay) in [("phone", 1), ("", 3)] {
        for round in 0..5 {
            let token = good(&format!("bob{device}{round}"));
            let coming = (0..6).map(|_| {
                let upgrade = Upgrade::to(address).text("token", &token);
                let upgrade = match device {
                    "" => upgrade,
                    device => upgrade.query("device", device),
                };
                async move { upgrade.open().await.unwrap().0 }
            });
            let mut clients = join_all(coming).await;
            let replaced = join_all(clients.iter_mut().map(is_replaced)).await;
            let replaced = replaced.into_iter().filter(|replaced| *replaced).count();
            assert_eq!(6 - replaced, stay, "{device} {round}");
        }
    }
}

async fn is_replaced(client: &mut Client) -> bool {
    let end = Instant::now() + Duration::from_secs(3);
    while let Some(event) = client.event_until(end).await {
        if let Event::Closed(code, _) = event {
            assert_eq!(code, 4103);
            return true;
        }
    }
    false
}

/// Whom a node that has died held counts no more, though its lease stands yet: 4105 would tell them never to come back.
#[tokio::test]
async fn those_of_a_dead_node_are_not_too_many_elsewhere() {
    let file = file("[limits]\nconnections_per_user = 1\n");
    let nats = NatsServer::start().await;
    let _router = dev_router(&nats.url()).await;
    let start = async || {
        let arguments = [
            "--dev",
            "--nats",
            &nats.url(),
            "--listen",
            FREE,
            "--admin",
            FREE,
            "--config",
        ];
        let arguments = arguments.map(str::to_owned).into_iter();
        let path = file.path().to_str().unwrap().to_owned();
        let mut node = Node::start("herald-gateway", arguments.chain([path])).await;
        node.listens("public").await;
        node
    };
    let (mut dies, lives) = (start().await, start().await);
    let first = Client::dev(dies.public(), "bob").await;
    let mut eve = Client::dev(lives.public(), "eve").await;
    let bob = json!({"presence": {"users": ["bob"]}});
    eventually("the routers know of bob", async || {
        eve.ask(bob.clone(), "presence").await["users"]["bob"]["online"] == true
    })
    .await;
    let (mut second, _) = Upgrade::to(lives.public())
        .text("token", &token::dev("bob"))
        .open()
        .await
        .unwrap();
    assert_eq!(second.closed().await, 4105, "one is the most");
    dies.kill();
    let mut back = Client::dev(lives.public(), "bob").await;
    back.ask(json!({"ping": {}}), "pong").await;
    drop(first);
}
