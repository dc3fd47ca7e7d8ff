//! A whole cluster: one NATS, some routers, some gateways, each a process of its own.

use crate::{
    gateway::{FREE, dev_gateway_with},
    nats::NatsServer,
    process::Node,
};

pub async fn dev_router(nats: &str) -> Node {
    Node::start("herald-router", ["--dev", "--nats", nats, "--admin", FREE]).await
}

/// All nodes run with `--dev`.
pub struct Cluster {
    pub gateways: Vec<Node>,
    pub routers: Vec<Node>,
    // Last, so that it is dropped last: nodes whose NATS has gone only fill their logs.
    pub nats: NatsServer,
}

impl Cluster {
    pub async fn start(routers: usize, gateways: usize) -> Self {
        let nats = NatsServer::start().await;
        let url = nats.url();
        let mut cluster = Self {
            gateways: Vec::new(),
            routers: Vec::new(),
            nats,
        };
        for _ in 0..routers {
            cluster.routers.push(dev_router(&url).await);
        }
        for _ in 0..gateways {
            cluster.gateways.push(dev_gateway_with(&["--nats", &url]).await);
        }
        cluster
    }
}
