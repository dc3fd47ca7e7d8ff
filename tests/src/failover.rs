//! Everything fails over in turn under load: the leader of the log's stream, a router, a gateway; then a router stands
//! still. Three NATS servers, two routers, two gateways; clients that exchange durable messages under keys, retry and
//! come back. Afterwards every message answered `sent` was heard by each of its recipients, once after dedup by offset,
//! and in the same order.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use rustix::process::Signal;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    cluster::{Cluster, LOG_STREAM},
    nats::cluster::NatsCluster,
};

use peer::Peer;
pub use report::Report;

pub(crate) mod peer;
pub(crate) mod report;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub clients: usize,
    /// Messages in a second, over all clients.
    pub rate: u32,
    /// How long messages are sent.
    pub length: Duration,
    /// Between one failure and the next; what failed comes back after half of it.
    pub apart: Duration,
    /// How long a router stands still in the end.
    pub pause: Duration,
    /// How long after the last message is due everything must have been sent and heard.
    pub settle: Duration,
}

/// Clients that connect at the same time in the beginning.
const ABREAST: usize = 32;

/// Where clients connect, as it is now.
pub(crate) type Addresses = Arc<RwLock<Vec<SocketAddr>>>;

impl Plan {
    /// What one client sends in a second.
    fn pace(&self) -> f64 {
        f64::from(self.rate) / self.clients as f64
    }

    /// How many messages one client sends.
    fn part(&self) -> usize {
        (self.length.as_secs_f64() * self.pace()) as usize
    }
}

/// Runs it all and prints what happens when.
pub async fn run(plan: Plan) -> Report {
    let mut cluster = Cluster::start_on_three(2, 2).await;
    let addresses: Addresses = Arc::new(RwLock::new(cluster.addresses()));
    let disturb = async |begun| fail_in_turn(&plan, &mut cluster, &addresses, begun).await;
    report::judge(&exercise(plan, &addresses, disturb).await)
}

/// What the clients of a plan sent and heard, all of it.
pub(crate) struct Heard {
    pub(crate) peers: Vec<Peer>,
    ledger: Arc<report::Ledger>,
    sent: usize,
}

/// Lets the clients live while `disturb` does what it does, from the given moment on.
pub(crate) async fn exercise(plan: Plan, addresses: &Addresses, disturb: impl AsyncFnOnce(Instant)) -> Heard {
    let (report_sent, mut sent) = mpsc::unbounded_channel();
    let (publish_ledger, ledger) = watch::channel(None);
    let starting = stream::iter(0..plan.clients).map(|i| Peer::start(plan, i, Arc::clone(addresses)));
    let peers: Vec<Peer> = starting.buffer_unordered(ABREAST).collect().await;
    let begun = Instant::now();
    let live = |peer: Peer| tokio::spawn(peer.live(begun, report_sent.clone(), ledger.clone()));
    let clients: Vec<_> = peers.into_iter().map(live).collect();
    drop(report_sent);
    disturb(begun).await;
    let mut all = Vec::new();
    // Ends when everybody has reported.
    while let Some(more) = sent.recv().await {
        all.extend(more);
    }
    log(begun, &format!("{} messages are sent", all.len()));
    let ledger = Arc::new(report::written(&all));
    publish_ledger.send_replace(Some(Arc::clone(&ledger)));
    let mut peers = Vec::new();
    for client in clients {
        peers.push(client.await.expect("a client that does as it should"));
    }
    log(begun, "everybody has heard what there was to hear");
    Heard {
        peers,
        ledger,
        sent: all.len(),
    }
}

pub(crate) fn log(begun: Instant, what: &str) {
    // Standard error: the report alone goes to standard output.
    eprintln!("{:6.1} s  {what}", begun.elapsed().as_secs_f64());
}

async fn fail_in_turn(plan: &Plan, cluster: &mut Cluster<NatsCluster>, addresses: &Addresses, begun: Instant) {
    let at = |n: u32| sleep_until(begun + plan.apart * n);
    let down = plan.apart / 2;

    at(1).await;
    let leader = cluster.nats.leader_of(LOG_STREAM).await;
    cluster.nats.kill(leader);
    log(begun, &format!("killed NATS n{leader}, the log's leader"));
    sleep(down).await;
    cluster.nats.restart(leader).await;
    log(begun, "it runs again");

    at(2).await;
    cluster.routers[0].kill();
    log(begun, "killed a router");
    sleep(down).await;
    cluster.restart_router(0).await;
    log(begun, "another runs in its place");

    at(3).await;
    cluster.gateways[0].kill();
    log(begun, "killed a gateway");
    sleep(down).await;
    cluster.restart_gateway(0).await;
    *addresses.write().expect("never poisoned") = cluster.addresses();
    log(begun, "another runs in its place");

    at(4).await;
    cluster.routers[1].signal(Signal::STOP);
    log(begun, "a router stands still");
    sleep(plan.pause).await;
    cluster.routers[1].signal(Signal::CONT);
    log(begun, "it goes on");
}
