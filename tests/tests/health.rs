//! `ready` is red while the node cannot do its work, says why, and is green again by itself.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    PATIENCE,
    cluster::{Cluster, LOG_STREAM},
    eventually,
    gateway::dev_gateway,
    http::get,
    process::Node,
};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

/// Five seconds are promised; a busy machine may take some more.
const RED_WITHIN: Duration = Duration::from_secs(8);

/// None: it does not even answer.
async fn ready(admin: SocketAddr) -> Option<(bool, String)> {
    let answer = timeout(Duration::from_secs(5), get(admin, "/health/ready"))
        .await
        .ok()?;
    Some((answer.status == 200, answer.body))
}

/// Waits until the node is red and names all of `why`; how long that took.
async fn red(node: &Node, why: &[&str]) -> Duration {
    let begun = Instant::now();
    loop {
        let (green, text) = ready(node.admin()).await.expect("it answers");
        if !green && why.iter().all(|why| text.lines().any(|line| line.starts_with(why))) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < RED_WITHIN, "not red for {why:?}, but: {text}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn green(node: &Node) {
    eventually("it is ready again", async || {
        ready(node.admin()).await.is_some_and(|(green, _)| green)
    })
    .await;
}

#[tokio::test]
async fn every_condition_can_be_seen() {
    let gateway = dev_gateway().await;
    let all = get(gateway.admin(), "/health/ready?verbose").await;
    assert_eq!(all.status, 200);
    let names: Vec<&str> = all.body.lines().map(|line| line.split(':').next().unwrap()).collect();
    let expected = [
        "drain",
        "bus",
        "router",
        "canary",
        "revocations",
        "lease",
        "log",
        "tables",
        "service",
        "ready",
    ];
    assert_eq!(names, expected);
    assert!(
        all.body.lines().take(9).all(|line| line.ends_with(": ok")),
        "{}",
        all.body
    );
    assert_eq!(get(gateway.admin(), "/health/ready").await.body, "ready\n");
}

#[tokio::test]
async fn a_lost_nats_turns_all_red_and_they_are_green_again_by_themselves() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.ready().await;
    cluster.nats.stop();
    let took = red(&cluster.gateways[0], &["bus: no connection to NATS"]).await;
    red(&cluster.routers[0], &["bus: no connection to NATS"]).await;
    eprintln!("red {took:?} after NATS was killed");
    assert_eq!(get(cluster.gateways[0].admin(), "/health/live").await.status, 200);
    cluster.nats.start_again().await;
    green(&cluster.gateways[0]).await;
    green(&cluster.routers[0]).await;
}

#[tokio::test]
async fn a_nats_that_stands_still_turns_all_red() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.ready().await;
    cluster.nats.signal(Signal::STOP);
    let took = red(&cluster.gateways[0], &["router: ", "canary: "]).await;
    red(&cluster.routers[0], &["canary: "]).await;
    eprintln!("red {took:?} after NATS was stopped");
    cluster.nats.signal(Signal::CONT);
    green(&cluster.gateways[0]).await;
    green(&cluster.routers[0]).await;
}

#[tokio::test]
async fn without_a_router_that_answers_a_gateway_is_red() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.ready().await;
    cluster.routers[0].kill();
    let took = red(&cluster.gateways[0], &["router: no router has answered for"]).await;
    eprintln!("red {took:?} after the router was killed");
    cluster.restart_router(0).await;
    green(&cluster.gateways[0]).await;
    // One that is there but does not answer is as good as none.
    cluster.routers[0].signal(Signal::STOP);
    red(&cluster.gateways[0], &["router: no router has answered for"]).await;
    cluster.routers[0].signal(Signal::CONT);
    green(&cluster.gateways[0]).await;
}

/// NATS is there and routers answer, but nothing can be stored: the bus and the routers alone would show nothing of that.
#[tokio::test]
async fn a_log_that_stores_nothing_is_noticed() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.ready().await;
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let mut stream = jetstream.get_stream(LOG_STREAM).await.unwrap();
    let config = stream.info().await.unwrap().config.clone();
    // Sealed for good it takes no message, as one whose disk is full.
    let sealed = async_nats::jetstream::stream::Config { sealed: true, ..config };
    jetstream.update_stream(sealed).await.unwrap();
    let took = red(
        &cluster.gateways[0],
        &["canary: nothing that is stored has come back live for"],
    )
    .await;
    red(&cluster.routers[0], &["canary: "]).await;
    eprintln!("red {took:?} after the log was sealed");
    // A new one in its place is provisioned by the routers.
    jetstream.delete_stream(LOG_STREAM).await.unwrap();
    let begun = Instant::now();
    green(&cluster.gateways[0]).await;
    green(&cluster.routers[0]).await;
    assert!(begun.elapsed() < PATIENCE);
}
