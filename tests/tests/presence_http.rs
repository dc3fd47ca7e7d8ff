//! A session over HTTP makes its user online: for as long as its key stands in the bucket, and to everybody who asks or
//! watches. Here the keys are put as a gateway's login and refresh put them.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use async_nats::{HeaderMap, jetstream};
use herald_proto::{cluster::HttpSession, subject};
use herald_tests::{
    client::Client,
    cluster::Cluster,
    eventually,
    http::{DEV_API_KEY, post},
};
use prost::Message;
use serde_json::{Value, json};
use tokio::time::Instant;

const SINCE: u64 = 1_790_000_000_000;

/// Puts, or refreshes, a session.
async fn session(nats: &str, user: &str, sid: &str, ttl: Duration) {
    let context = jetstream::new(async_nats::connect(nats).await.unwrap());
    let key = subject::key(&["h", user, sid]);
    let mut headers = HeaderMap::new();
    headers.insert("Nats-TTL", format!("{}s", ttl.as_secs()));
    let value = HttpSession { since: SINCE }.encode_to_vec();
    let subject = format!("$KV.herald-dev_PRESENCE.{key}");
    let put = context.publish_with_headers(subject, headers, value.into()).await;
    put.unwrap().await.unwrap();
}

async fn asked(admin: SocketAddr, user: &str) -> Value {
    let question = json!({"users": [user]});
    let answer = post(admin, "/api/v1/presence", DEV_API_KEY, &question).await;
    answer.json()["users"][user].clone()
}

#[tokio::test]
async fn a_user_is_online_by_a_session_alone_until_it_ends() {
    let cluster = Cluster::start(2, 1).await;
    let (gateway, nats) = (&cluster.gateways[0], cluster.nats.url());
    let mut alice = Client::dev(gateway.public(), "alice").await;
    alice.join("g").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    bob.join("g").await;
    let watching = json!({"watch": {"users": ["bob"]}});
    alice.ask(watching, "watching").await;
    bob.close().await;
    assert_eq!(alice.next("presence").await["online"], false);

    let ttl = Duration::from_secs(3);
    session(&nats, "bob", "s1", ttl).await;
    let ends = Instant::now() + ttl;
    let push = alice.next("presence").await;
    assert_eq!((&push["user"], &push["online"]), (&json!("bob"), &json!(true)));
    eventually("routers know", async || {
        asked(gateway.admin(), "bob").await["online"] == true
    })
    .await;
    let told = asked(gateway.admin(), "bob").await;
    assert_eq!((&told["connections"], &told["since"]), (&json!(0), &json!(SINCE)));
    let group = alice.ask(json!({"presence": {"group": "g"}}), "presence").await;
    assert_eq!((&group["online"], &group["members"]), (&json!(2), &json!(2)), "{group}");
    assert_eq!(group["users"]["bob"]["connections"], 0, "{group}");
    // Who begins to watch now reads it from the bucket.
    let mut eve = Client::dev(gateway.public(), "eve").await;
    let states = eve.ask(json!({"watch": {"users": ["bob"]}}), "watching").await;
    assert_eq!(states["users"]["bob"]["online"], true, "{states}");

    for watcher in [&mut alice, &mut eve] {
        let push = watcher.next("presence").await;
        assert_eq!((&push["user"], &push["online"]), (&json!("bob"), &json!(false)));
    }
    assert!(Instant::now() >= ends, "it ended before its time");
    let told = asked(gateway.admin(), "bob").await;
    assert_eq!(told["online"], false, "{told}");
    assert!(told["last_seen"].as_u64().unwrap() > SINCE, "{told}");
}

#[tokio::test]
async fn a_session_that_is_refreshed_outlives_its_first_end_and_routers_that_start_anew_know_it() {
    let mut cluster = Cluster::start(1, 1).await;
    let nats = cluster.nats.url();
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    session(&nats, "bob", "s1", Duration::from_secs(2)).await;
    session(&nats, "bob", "s2", Duration::from_secs(60)).await;
    session(&nats, "bob", "s1", Duration::from_secs(60)).await;
    let states = alice.ask(json!({"watch": {"users": ["bob"]}}), "watching").await;
    assert_eq!(states["users"]["bob"]["online"], true, "{states}");
    cluster.routers[0].kill();
    cluster.restart_router(0).await;
    cluster.ready().await;
    assert_eq!(asked(cluster.gateways[0].admin(), "bob").await["online"], true);
    // Longer than s1 would have lasted, and the grace.
    assert!(!alice.hears("presence", Duration::from_secs(5)).await);
}
