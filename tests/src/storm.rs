//! A gateway dies, and all its clients come to another one at once, each with its cursor.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream};
use rand::Rng;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    PATIENCE,
    client::Dialect,
    cluster::{Cluster, LOG_STREAM},
    follower::Follower,
    http,
    monitor::Monitor,
    token,
};

/// Clients that share a group.
const GROUP: usize = 50;
/// One client in so many is written to while it is away.
const WRITTEN_TO: usize = 50;
/// Clients back off with jitter: the first try comes within this.
const JITTER: Duration = Duration::from_secs(1);
/// What a gateway asks of NATS for itself while the storm lasts: sweeps, its lease, and the like.
const OWN_REQUESTS: u64 = 200;

#[derive(Debug)]
pub struct Report {
    pub clients: usize,
    /// From the kill until the last was connected again, and until the last had heard all.
    pub connected: Duration,
    pub complete: Duration,
    pub lost: usize,
    pub late: usize,
    pub gaps: usize,
    pub repeated: usize,
    /// What NATS took from the gateway that they came to, and how much of that only wrote down who is there.
    pub taken: u64,
    pub presence: u64,
    /// Made meanwhile, on the log.
    pub consumers: u64,
}

impl Report {
    /// Beside presence, which is written and not asked.
    pub fn requests(&self) -> u64 {
        self.taken.saturating_sub(self.presence)
    }

    /// Two requests for each client, one more for each inbox with something new in it, and the node's own.
    pub fn bar(&self) -> u64 {
        let clients = self.clients as u64;
        2 * clients + clients.div_ceil(WRITTEN_TO as u64) + OWN_REQUESTS
    }
}

pub async fn run(clients: usize) -> Report {
    let mut cluster = Cluster::start(2, 3).await;
    let [old, new] = [0, 1].map(|i| cluster.gateways[i].public());
    // The application speaks through a gateway of its own, so that what is counted is the clients' doing alone.
    let application = cluster.gateways[2].admin();
    let connecting = stream::iter(0..clients).map(|i| connect(i, old)).buffer_unordered(32);
    let followers: Vec<Follower> = connecting.collect().await;
    tell(application, json!({"all": true}), "first").await;
    let followers: Vec<Follower> = stream::iter(followers)
        .map(with_cursor)
        .buffer_unordered(clients)
        .collect()
        .await;

    let monitor = Monitor::of(&cluster.nats.url()).await;
    let consumers = monitor
        .count(&format!("$JS.EVENT.ADVISORY.CONSUMER.CREATED.{LOG_STREAM}.>"))
        .await;
    let presence = monitor.count("$KV.herald-dev_PRESENCE.>").await;
    let probe = Follower::dev(new, "probe", &[]).await;
    let node = probe.connected["node"].as_str().expect("a node");
    let taken = monitor.taken_from(node).await;
    cluster.gateways[0].kill();
    let begun = Instant::now();
    let mut returning = JoinSet::new();
    for follower in followers {
        returning.spawn(come_back(follower, new));
    }
    tell(application, json!({"all": true}), "second").await;
    let some: Vec<String> = (0..clients).step_by(WRITTEN_TO).map(|i| format!("u{i}")).collect();
    tell(application, json!({"users": some}), "own").await;

    let mut report = Report {
        clients,
        connected: Duration::ZERO,
        complete: Duration::ZERO,
        lost: 0,
        late: 0,
        gaps: 0,
        repeated: 0,
        taken: 0,
        presence: 0,
        consumers: 0,
    };
    let mut returned = Vec::new();
    while let Some(one) = returning.join_next().await {
        returned.push(one.expect("a client that does as it should"));
    }
    // Before they go away again, which is written down, too.
    report.taken = monitor.taken_from(node).await - taken;
    report.presence = presence.get();
    report.consumers = consumers.get();
    for (follower, connected, complete) in &returned {
        report.connected = report.connected.max(*connected - begun);
        report.complete = report.complete.max(*complete - begun);
        report.lost += expected(&follower.user).abs_diff(follower.heard.count());
        report.late += follower.heard.late;
        report.gaps += follower.gaps;
        report.repeated += follower.heard.repeated;
    }
    report
}

/// The application writes to one target, or to many users.
async fn tell(application: SocketAddr, to: Value, body: &str) {
    let results = http::messages(application, &json!({"to": to, "body": body})).await;
    assert!(
        results.iter().all(|result| result.get("error").is_none()),
        "{results:?}"
    );
}

async fn connect(i: usize, address: SocketAddr) -> Follower {
    let name = format!("u{i}");
    let token = token::dev_with(&name, &json!({"groups": [format!("g{}", i / GROUP)]}));
    let mut follower = Follower::new(&name, Dialect::BOTH[i % 2], token);
    follower.resume(address).await;
    follower
}

/// Whoever has heard something is given a cursor.
async fn with_cursor(mut follower: Follower) -> Follower {
    follower.until_heard(&json!("first")).await;
    follower.until_cursor().await;
    follower
}

/// How many messages a client hears in all.
fn expected(user: &str) -> usize {
    let number: usize = user[1..].parse().expect("a number");
    2 + usize::from(number.is_multiple_of(WRITTEN_TO))
}

/// Waits for the end of the connection, returns to another gateway and hears what it has missed. When it was connected,
/// and when it had heard all that it waited for.
async fn come_back(mut follower: Follower, address: SocketAddr) -> (Follower, Instant, Instant) {
    let end = Instant::now() + PATIENCE;
    let cut = follower.run(end).await;
    assert!(cut.is_err(), "{} is still connected", follower.user);
    let jitter = rand::rng().random_range(Duration::ZERO..JITTER);
    sleep(jitter).await;
    follower.come_back(|| vec![address], PATIENCE).await;
    let connected = Instant::now();
    while follower.heard.count() < expected(&follower.user) && Instant::now() < end {
        let soon = Instant::now() + Duration::from_millis(50);
        let heard = follower.run(soon).await;
        heard.unwrap_or_else(|why| panic!("{} was cut again: {why}", follower.user));
    }
    (follower, connected, Instant::now())
}
