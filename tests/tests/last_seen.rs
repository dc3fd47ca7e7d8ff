//! When one who is offline was there last: known whatever routers did meanwhile, for as long as the configuration says.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_proto::id;
use herald_tests::{
    client::Client,
    cluster::Cluster,
    eventually,
    http::{DEV_API_KEY, post},
};
use serde_json::{Value, json};
use tokio::time::sleep;

async fn asked(admin: SocketAddr, user: &str) -> Value {
    let question = json!({"users": [user]});
    let answer = post(admin, "/api/v1/presence", DEV_API_KEY, &question).await;
    answer.json()["users"][user].clone()
}

/// Whether a user is offline, and was seen last between these two times.
async fn was_seen(admin: SocketAddr, user: &str, from: u64, to: u64) -> bool {
    let presence = asked(admin, user).await;
    let seen = presence["last_seen"].as_u64();
    presence["online"] == false && seen.is_some_and(|seen| (from..=to).contains(&seen))
}

#[tokio::test]
async fn who_leaves_while_no_router_runs_is_known_to_have_been_there() {
    let mut cluster = Cluster::start(2, 1).await;
    let (public, admin) = (cluster.gateways[0].public(), cluster.gateways[0].admin());
    let bob = Client::dev(public, "bob").await;
    let eve = Client::dev(public, "eve").await;
    // Nothing is written down yet of one who left just before.
    let before_eve = id::now_ms();
    eve.close().await;
    eventually("eve is offline", async || asked(admin, "eve").await["online"] == false).await;
    for router in &mut cluster.routers {
        router.kill();
    }
    let before_bob = id::now_ms();
    bob.close().await;
    let after = id::now_ms() + 2_000;
    for i in 0..2 {
        cluster.restart_router(i).await;
    }
    cluster.ready().await;
    eventually("both are known to have been there", async || {
        was_seen(admin, "eve", before_eve, after).await && was_seen(admin, "bob", before_bob, after).await
    })
    .await;
}

#[tokio::test]
async fn one_whose_node_died_was_last_seen_while_it_lived() {
    let mut cluster = Cluster::start(1, 2).await;
    let admin = cluster.gateways[0].admin();
    let before = id::now_ms();
    let _bob = Client::dev(cluster.gateways[1].public(), "bob").await;
    eventually("bob is online", async || asked(admin, "bob").await["online"] == true).await;
    cluster.gateways[1].kill();
    let killed = id::now_ms();
    eventually("bob is offline", async || asked(admin, "bob").await["online"] == false).await;
    assert!(
        was_seen(admin, "bob", before, killed).await,
        "{}",
        asked(admin, "bob").await
    );
}

#[tokio::test]
async fn routers_in_development_forget_when_the_configuration_says_so() {
    let cluster = Cluster::start_with(1, 1, "[policy]\nlast_seen_kept = \"0s\"").await;
    let admin = cluster.gateways[0].admin();
    let bob = Client::dev(cluster.gateways[0].public(), "bob").await;
    eventually("bob is online", async || asked(admin, "bob").await["online"] == true).await;
    bob.close().await;
    eventually("bob is offline", async || asked(admin, "bob").await["online"] == false).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(asked(admin, "bob").await["last_seen"], Value::Null);
}
