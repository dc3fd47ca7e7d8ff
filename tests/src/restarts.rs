//! A rolling restart as an operator does it: every gateway and every router is asked to end and replaced, one after another,
//! behind a real haproxy, while clients with cursors exchange durable messages.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    cluster::Cluster,
    failover::{Addresses, Plan as Traffic, Report, exercise, log, peer::Absence, report::judge},
    gateway::FREE,
    haproxy::Haproxy,
    nats::cluster::NatsCluster,
    process::Node,
};

/// Between one restart and the next.
const APART: Duration = Duration::from_secs(3);
/// What is printed and judged of a drain's window.
const PARTS: usize = 10;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub gateways: usize,
    pub routers: usize,
    pub clients: usize,
    /// Messages in a second, over all clients.
    pub rate: u32,
    /// A gateway closes its connections over this time.
    pub drain: Duration,
}

/// Closes of one gateway's connections, by the part of its drain window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window(pub [usize; PARTS]);

#[derive(Debug)]
pub struct Outcome {
    pub messages: Report,
    /// The longest that a client had no connection.
    pub longest: Duration,
    pub windows: Vec<Window>,
}

impl Plan {
    /// Messages flow until the last node is replaced.
    fn length(&self) -> Duration {
        let gateways = (self.drain + APART + Duration::from_secs(2)) * u32::try_from(self.gateways).expect("few");
        gateways + (APART + Duration::from_secs(4)) * u32::try_from(self.routers).expect("few") + APART
    }
}

pub async fn run(plan: Plan) -> Outcome {
    let mut cluster = Cluster::start_on_three(plan.routers, 0).await;
    let urls = cluster.nats.urls();
    for _ in 0..plan.gateways {
        cluster.gateways.push(gateway(&plan, &urls, FREE, FREE).await);
    }
    let nodes: Vec<(SocketAddr, SocketAddr)> = cluster
        .gateways
        .iter()
        .map(|node| (node.public(), node.admin()))
        .collect();
    let haproxy = Haproxy::start(&nodes).await;
    let addresses: Addresses = Arc::new(RwLock::new(vec![haproxy.address]));
    let traffic = Traffic {
        clients: plan.clients,
        rate: plan.rate,
        length: plan.length(),
        apart: Duration::ZERO,
        pause: Duration::ZERO,
        settle: Duration::from_secs(60),
    };
    let mut began = Vec::new();
    let disturb = async |begun| began = replace_all(&plan, &mut cluster, &urls, begun).await;
    let heard = exercise(traffic, &addresses, disturb).await;
    let absences: Vec<Absence> = heard.peers.iter().flat_map(|peer| peer.absences.clone()).collect();
    Outcome {
        messages: judge(&heard),
        longest: absences
            .iter()
            .map(|absence| absence.to - absence.from)
            .max()
            .unwrap_or_default(),
        windows: began
            .iter()
            .map(|began| Window::of(&absences, *began, plan.drain))
            .collect(),
    }
}

async fn gateway(plan: &Plan, urls: &str, listen: &str, admin: &str) -> Node {
    let drain = format!("{}ms", plan.drain.as_millis());
    let arguments = [
        "--dev", "--nats", urls, "--drain", &drain, "--listen", listen, "--admin", admin,
    ];
    let mut node = Node::start("herald-gateway", arguments).await;
    node.listens("public").await;
    node
}

/// When each gateway began to drain.
async fn replace_all(plan: &Plan, cluster: &mut Cluster<NatsCluster>, urls: &str, begun: Instant) -> Vec<Instant> {
    let mut began = Vec::new();
    sleep(APART).await;
    for i in 0..plan.gateways {
        let old = &mut cluster.gateways[i];
        let (listen, admin) = (old.public().to_string(), old.admin().to_string());
        old.terminate();
        began.push(Instant::now());
        let status = old.exit().await;
        assert!(status.success(), "the gateway ended with {status}");
        cluster.gateways[i] = gateway(plan, urls, &listen, &admin).await;
        log(begun, "a gateway is replaced");
        sleep(APART).await;
    }
    for i in 0..plan.routers {
        cluster.routers[i].terminate();
        let status = cluster.routers[i].exit().await;
        assert!(status.success(), "the router ended with {status}");
        cluster.restart_router(i).await;
        log(begun, "a router is replaced");
        sleep(APART).await;
    }
    began
}

impl Window {
    fn of(absences: &[Absence], began: Instant, drain: Duration) -> Self {
        let mut parts = [0; PARTS];
        let within = absences
            .iter()
            .filter(|absence| absence.from >= began && absence.from < began + drain + APART);
        for absence in within {
            let part = (absence.from - began).as_secs_f64() / drain.as_secs_f64() * PARTS as f64;
            parts[(part as usize).min(PARTS - 1)] += 1;
        }
        Self(parts)
    }

    /// The fullest part, as a multiple of what an even spread would put into each.
    pub fn peak(&self) -> f64 {
        let total: usize = self.0.iter().sum();
        let fullest = self.0.iter().max().copied().unwrap_or_default();
        fullest as f64 * PARTS as f64 / total.max(1) as f64
    }

    /// One line for each part.
    pub fn histogram(&self, drain: Duration) -> String {
        let mut text = String::new();
        let fullest = self.0.iter().max().copied().unwrap_or_default().max(1);
        for (i, closes) in self.0.iter().enumerate() {
            let from = drain.mul_f64(i as f64 / PARTS as f64).as_secs_f64();
            let bar = "#".repeat(closes * 40 / fullest);
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  from {from:5.1} s {closes:6} {bar}");
        }
        text
    }
}
