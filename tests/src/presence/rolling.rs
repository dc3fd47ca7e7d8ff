//! Every gateway and every router is asked to end and replaced, one after another, under clients that come back.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use herald_proto::limits;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    ABREAST,
    crash::until_right,
    crash::watchers,
    traveller::{Addresses, Traveller},
    watcher::Watcher,
    wrong,
};
use crate::{cluster::Cluster, gateway::dev_gateway_with, process::Node};

const GATEWAYS: usize = 3;
const ROUTERS: usize = 2;
/// Each user is watched so often, through different gateways.
const WATCHED: usize = 3;
/// A gateway closes its connections over this time.
const DRAIN: &str = "10s";
/// Between one restart and the next.
const APART: Duration = Duration::from_secs(3);
/// After the last one.
const REST: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub struct Report {
    pub clients: usize,
    pub reconnects: usize,
    /// The longest that a client was away.
    pub longest: Duration,
    /// From the last restart until all answers were right.
    pub right: Duration,
    /// Users about whom an answer is wrong at rest.
    pub wrong: usize,
    /// All pushes, and those that told somebody to be offline who was not away for as long as the grace.
    pub pushes: usize,
    pub false_offline: usize,
    /// Users who were offline in the answer to a `watch`, though they were connected and had been for a second.
    pub false_absent: usize,
}

pub async fn run(clients: usize) -> Report {
    let mut cluster = Cluster::start(ROUTERS, 0).await;
    let url = cluster.nats.url();
    for _ in 0..GATEWAYS {
        cluster.gateways.push(gateway(&url).await);
    }
    let addresses: Addresses = Arc::new(RwLock::new(cluster.addresses()));
    let connecting = stream::iter(0..clients).map(|i| {
        let addresses = cluster.addresses();
        async move { Traveller::start(format!("u{i}"), addresses[i % addresses.len()]).await }
    });
    let travellers: Vec<Traveller> = connecting.buffer_unordered(ABREAST).collect().await;
    let truth: BTreeMap<String, u64> = travellers.iter().map(|t| (t.user.clone(), 1)).collect();
    until_right(&admins(&cluster), &truth).await;

    let stop = CancellationToken::new();
    let mut travelling = JoinSet::new();
    for traveller in travellers {
        travelling.spawn(traveller.travel(Some(addresses.clone()), stop.clone()));
    }
    let mut watching = JoinSet::new();
    for _ in 0..WATCHED {
        for watcher in watchers(&truth, &addresses).await {
            watching.spawn(watcher.hear(stop.clone()));
        }
    }
    restart_all(&mut cluster, &url, &addresses).await;
    let ended = Instant::now();
    until_right(&admins(&cluster), &truth).await;
    let right = ended.elapsed();
    sleep(REST).await;
    let wrong = wrong(&admins(&cluster), &truth).await;
    stop.cancel();
    let report = judge(&travelling.join_all().await, &watching.join_all().await);
    Report { right, wrong, ..report }
}

async fn gateway(url: &str) -> Node {
    dev_gateway_with(&["--nats", url, "--drain", DRAIN]).await
}

fn admins(cluster: &Cluster) -> Vec<std::net::SocketAddr> {
    cluster.gateways.iter().map(Node::admin).collect()
}

async fn restart_all(cluster: &mut Cluster, url: &str, addresses: &Addresses) {
    for i in 0..GATEWAYS {
        // As a load balancer does: nobody is sent to one that ends.
        let old = addresses.write().expect("never poisoned").remove(0);
        assert_eq!(old, cluster.gateways[i].public(), "the oldest goes first");
        cluster.gateways[i].terminate();
        let status = cluster.gateways[i].exit().await;
        assert!(status.success(), "the gateway ended with {status}");
        cluster.gateways[i] = gateway(url).await;
        let new = cluster.gateways[i].public();
        addresses.write().expect("never poisoned").push(new);
        sleep(APART).await;
        if i < ROUTERS {
            cluster.routers[i].terminate();
            let status = cluster.routers[i].exit().await;
            assert!(status.success(), "the router ended with {status}");
            cluster.restart_router(i).await;
            sleep(APART).await;
        }
    }
}

fn judge(travellers: &[Traveller], watchers: &[Watcher]) -> Report {
    let by_name: BTreeMap<&str, &Traveller> = travellers.iter().map(|t| (t.user.as_str(), t)).collect();
    let mut report = Report {
        clients: travellers.len(),
        reconnects: travellers.iter().map(|t| t.absences.len()).sum(),
        longest: travellers.iter().map(Traveller::longest).max().unwrap_or_default(),
        ..Report::default()
    };
    for watcher in watchers {
        report.pushes += watcher.pushes.len();
        for push in watcher.pushes.iter().filter(|push| !push.online) {
            if !by_name[push.user.as_str()].was_long_away(push.at, limits::GRACE) {
                report.false_offline += 1;
            }
        }
        for (at, user) in &watcher.absent {
            report.false_absent += usize::from(!by_name[user.as_str()].was_away(*at));
        }
    }
    report
}
