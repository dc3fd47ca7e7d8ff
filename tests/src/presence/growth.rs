//! What idle users cost the presence bucket: nothing, for only the node's lease is refreshed.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::crowd::{Crowd, MOST};
use crate::{cluster::Cluster, metrics::Metrics, monitor::Monitor};

const KEYS: &str = "herald_gateway_presence_writes_total{kind=\"key\"}";
const LEASES: &str = "herald_gateway_presence_writes_total{kind=\"lease\"}";
const AGE: &str = "herald_gateway_lease_age_seconds";
/// Nothing was written for this long: at rest. Longer than a key waits to be written again.
const REST: Duration = Duration::from_secs(10);
/// Users who are not at rest by then never are.
const LONGEST: Duration = Duration::from_secs(120);

/// What was written in one span of time with so many users.
#[derive(Debug)]
pub struct Row {
    pub users: usize,
    pub length: Duration,
    /// Users' keys, and refreshes of the lease, as the gateway counts them.
    pub keys: f64,
    pub leases: f64,
    /// What NATS was given of the gateway's keys and its lease.
    pub stored: u64,
    /// The oldest that the lease was seen to be.
    pub age: f64,
}

/// Counts for `window` with each number of users, growing, on the one gateway.
pub async fn run(sizes: &[usize], window: Duration, mut told: impl FnMut(&Row)) -> Vec<Row> {
    let cluster = Cluster::start(1, 1).await;
    let gateway = &cluster.gateways[0];
    let monitor = Monitor::of(&cluster.nats.url()).await;
    let mut crowds = Vec::new();
    let mut rows = Vec::new();
    let mut users = 0;
    for size in sizes {
        while users < *size {
            let count = (size - users).min(MOST);
            crowds.push(Crowd::start(gateway.public(), users, count).await);
            users += count;
        }
        at_rest(gateway.admin(), users).await;
        let row = count(&monitor, gateway.admin(), users, window).await;
        told(&row);
        rows.push(row);
    }
    rows
}

async fn at_rest(admin: SocketAddr, users: usize) {
    let end = Instant::now() + LONGEST;
    let (mut keys, mut since) = (0.0, Instant::now());
    while since.elapsed() < REST {
        let metrics = Metrics::of(admin).await;
        let now = metrics.get(KEYS);
        if now > keys || now < users as f64 {
            (keys, since) = (now, Instant::now());
        }
        assert!(
            Instant::now() < end,
            "{now} keys written for {users} users, and no rest"
        );
        sleep(Duration::from_millis(500)).await;
    }
}

async fn count(monitor: &Monitor, admin: SocketAddr, users: usize, window: Duration) -> Row {
    let of_users = monitor.count("$KV.herald-dev_PRESENCE.u.>").await;
    let of_leases = monitor.count("$KV.herald-dev_PRESENCE.n.>").await;
    let (before, begun) = (Metrics::of(admin).await, Instant::now());
    let mut age = 0.0_f64;
    while begun.elapsed() < window {
        sleep(Duration::from_millis(250)).await;
        age = age.max(Metrics::of(admin).await.get(AGE));
    }
    let (after, length) = (Metrics::of(admin).await, begun.elapsed());
    Row {
        users,
        length,
        keys: after.get(KEYS) - before.get(KEYS),
        leases: after.get(LEASES) - before.get(LEASES),
        stored: of_users.get() + of_leases.get(),
        age,
    }
}
