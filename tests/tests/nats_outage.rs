//! What an operator sees, and what clients do, while NATS is away, and while one of three servers is: the table in README's
//! section on health. Times are printed; the bounds leave room for a busy machine.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use herald_tests::{
    client::Dialect,
    cluster::{Cluster, LOG_STREAM},
    eventually,
    follower::Follower,
    http::get,
    metrics::Metrics,
    nats::cluster::NatsCluster,
    process::Node,
    token,
};
use serde_json::json;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

const OUTAGE: Duration = Duration::from_secs(20);
/// Of the five seconds that are promised.
const RED_WITHIN: Duration = Duration::from_secs(8);
const GREEN_WITHIN: Duration = Duration::from_secs(30);
const AT_ONCE: Duration = Duration::from_millis(100);

async fn is_ready(admin: SocketAddr) -> bool {
    let answer = timeout(Duration::from_secs(5), get(admin, "/health/ready")).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Both what balancers see and what Prometheus does.
async fn seen(node: &Node) -> (bool, f64) {
    let metrics = Metrics::of(node.admin()).await;
    (is_ready(node.admin()).await, metrics.get("herald_bus_ready"))
}

fn nodes<N>(cluster: &Cluster<N>) -> impl Iterator<Item = (String, &Node)> {
    let named = |kind: &'static str| move |(i, node)| (format!("{kind} {i}"), node);
    let gateways = cluster.gateways.iter().enumerate().map(named("gateway"));
    gateways.chain(cluster.routers.iter().enumerate().map(named("router")))
}

/// When all nodes are seen so, and how long it took each since `begun`.
async fn all_seen<N>(cluster: &Cluster<N>, expected: (bool, f64), begun: Instant) {
    let looks = nodes(cluster).map(async |(name, node)| {
        eventually(&format!("{name} is seen as {expected:?}"), async || {
            seen(node).await == expected
        })
        .await;
        eprintln!(
            "{name}: ready {}, herald_bus_ready {} after {:.1?}",
            expected.0,
            expected.1,
            begun.elapsed()
        );
    });
    futures_util::future::join_all(looks).await;
}

/// Each body that alice was to send, and how often bob has heard it.
fn heard(bob: &Follower) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for item in bob.heard.of("user.bob") {
        *counts.entry(item.body.as_u64().unwrap()).or_default() += 1;
    }
    counts
}

fn once(count: usize) -> BTreeMap<u64, usize> {
    (0..count as u64).map(|n| (n, 1)).collect()
}

fn push(alice: &mut Follower, n: usize) {
    alice.outgoing.push(json!({"user": "bob"}), json!(n), format!("k{n}"));
}

#[tokio::test]
async fn twenty_seconds_without_nats_are_seen_on_all_nodes_and_pass_by_themselves() {
    let mut cluster = Cluster::start(1, 2).await;
    cluster.ready().await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Follower::dev(one, "alice", &[]).await;
    let mut bob = Follower::dev(two, "bob", &[]).await;
    push(&mut alice, 0);
    alice.until("it is sent", |alice| alice.outgoing.is_empty()).await;
    bob.until_heard(&json!(0)).await;

    cluster.nats.stop();
    let lost = Instant::now();
    all_seen(&cluster, (false, 0.0), lost).await;
    assert!(lost.elapsed() < RED_WITHIN, "all red only after {:?}", lost.elapsed());

    let asked = Instant::now();
    let command = json!({"send": {"to": {"user": "bob"}, "body": "by hand"}});
    let refused = alice.client().command(command).await;
    let error = &refused["error"];
    assert_eq!(
        (&error["code"], &error["retry"]),
        (&json!("unavailable"), &json!(true)),
        "{refused}"
    );
    eprintln!("a command is refused after {:.1?}: {error}", asked.elapsed());

    // Another one comes, and is not let in.
    let asked = Instant::now();
    let mut carol = Follower::new("carol", Dialect::Json, token::dev("carol"));
    let why = carol.try_resume(one).await.unwrap_err();
    eprintln!("a new client: {why} after {:.1?}", asked.elapsed());
    assert!(why.starts_with("closed with 4005"), "{why}");
    assert!(asked.elapsed() >= Duration::from_millis(4_500), "{:?}", asked.elapsed());

    for n in 1..=50 {
        push(&mut alice, n);
    }
    // Both connections are held: these fail where one ends.
    let end = lost + OUTAGE;
    let (alice_held, bob_held) = tokio::join!(alice.run(end), bob.run(end));
    assert_eq!((alice_held, bob_held), (Ok(()), Ok(())));
    assert!(alice.outgoing.retries > 0 && alice.outgoing.sent.len() == 1);

    cluster.nats.start_again().await;
    let back = Instant::now();
    let delivered = async {
        alice.until("all are sent", |alice| alice.outgoing.is_empty()).await;
        eprintln!("all are taken {:.1?} after NATS is back", back.elapsed());
        bob.until("all", |bob| bob.heard.count() >= 51).await;
        eprintln!("all are delivered {:.1?} after NATS is back", back.elapsed());
    };
    tokio::join!(delivered, all_seen(&cluster, (true, 1.0), back));
    assert!(back.elapsed() < GREEN_WITHIN, "{:?}", back.elapsed());
    // A copy would have come by the end of this.
    bob.run(Instant::now() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(heard(&bob), once(51));
}

/// Looks at readiness all the time; between which two moments a node was seen red, if it was.
async fn watch_ready(admin: SocketAddr, begun: Instant, end: Arc<Notify>) -> Option<(Duration, Duration)> {
    let mut red: Option<(Duration, Duration)> = None;
    let ended = end.notified();
    tokio::pin!(ended);
    loop {
        let at = begun.elapsed();
        if !is_ready(admin).await {
            red = Some((red.map_or(at, |(first, _)| first), begun.elapsed()));
        }
        tokio::select! {
            () = &mut ended => return red,
            () = sleep(Duration::from_millis(50)) => {}
        }
    }
}

/// Kills one server while alice goes on to send, and has it back.
async fn lose_one(
    cluster: &mut Cluster<NatsCluster>,
    victim: usize,
    what: &str,
    (alice, bob): (&mut Follower, &mut Follower),
    sent: &mut usize,
) {
    cluster.nats.kill(victim);
    let (killed, end) = (Instant::now(), Arc::new(Notify::new()));
    let watches: Vec<_> = nodes(cluster)
        .map(|(name, node)| (name, tokio::spawn(watch_ready(node.admin(), killed, end.clone()))))
        .collect();
    let (before, retries) = (*sent, alice.outgoing.retries);
    while killed.elapsed() < Duration::from_secs(15) {
        push(alice, *sent);
        *sent += 1;
        let slice = Instant::now() + AT_ONCE;
        let held = tokio::join!(alice.run(slice), bob.run(slice));
        assert_eq!(held, (Ok(()), Ok(())), "with {what} gone");
    }
    alice.until("all are sent", |alice| alice.outgoing.is_empty()).await;
    eventually("all are ready", async || {
        let looks = nodes(cluster).map(|(_, node)| is_ready(node.admin()));
        futures_util::future::join_all(looks)
            .await
            .into_iter()
            .all(|ready| ready)
    })
    .await;
    end.notify_waiters();
    for (name, watch) in watches {
        match watch.await.unwrap() {
            Some((from, to)) => {
                eprintln!("{what} killed: {name} was red from {from:.1?} to {to:.1?}");
                assert!(to < GREEN_WITHIN, "{name}, with {what} gone: {to:?}");
            }
            None => eprintln!("{what} killed: {name} stayed ready"),
        }
    }
    let retries = alice.outgoing.retries - retries;
    eprintln!(
        "{what} killed: of {} commands {retries} were to be tried again",
        *sent - before
    );
    cluster.nats.restart(victim).await;
    eventually("three copies are current again", async || {
        cluster.nats.current_replicas(LOG_STREAM).await == 3
    })
    .await;
}

#[tokio::test]
async fn one_of_three_nats_servers_may_go_and_clients_stay() {
    let mut cluster = Cluster::start_on_three(2, 2).await;
    cluster.ready().await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Follower::dev(one, "alice", &[]).await;
    let mut bob = Follower::dev(two, "bob", &[]).await;
    let mut sent = 0;
    let leader = cluster.nats.leader_of(LOG_STREAM).await;
    lose_one(
        &mut cluster,
        leader,
        "the log's leader",
        (&mut alice, &mut bob),
        &mut sent,
    )
    .await;
    let another = (cluster.nats.leader_of(LOG_STREAM).await + 1) % 3;
    lose_one(
        &mut cluster,
        another,
        "another server",
        (&mut alice, &mut bob),
        &mut sent,
    )
    .await;
    bob.until("all", |bob| bob.heard.count() >= sent).await;
    bob.run(Instant::now() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(heard(&bob), once(sent));
}
