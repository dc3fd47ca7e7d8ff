//! A whole cluster: NATS, some routers, some gateways, each a process of its own.

use std::net::SocketAddr;

use crate::{
    gateway::{FREE, dev_gateway_with, file},
    nats::{NatsServer, cluster::NatsCluster},
    process::Node,
};

/// The stream of Herald's log, with `--dev`.
pub const LOG_STREAM: &str = "herald-dev_LOG_0";

pub async fn dev_router(nats: &str) -> Node {
    Node::start("herald-router", ["--dev", "--nats", nats, "--admin", FREE]).await
}

/// All nodes run with `--dev`.
pub struct Cluster<N = NatsServer> {
    pub gateways: Vec<Node>,
    pub routers: Vec<Node>,
    urls: String,
    /// The routers' configuration.
    config: String,
    // Last, so that it is dropped last: nodes whose NATS has gone only fill their logs.
    pub nats: N,
}

impl Cluster {
    pub async fn start(routers: usize, gateways: usize) -> Self {
        Self::start_with(routers, gateways, "").await
    }

    /// `config` is the gateways'.
    pub async fn start_with_gateways(routers: usize, gateways: usize, config: &str) -> Self {
        let mut cluster = Self::start(routers, 0).await;
        for _ in 0..gateways {
            let config = file(config);
            let path = config.path().to_str().expect("UTF-8").to_owned();
            let mut gateway = dev_gateway_with(&["--config", &path, "--nats", &cluster.urls]).await;
            gateway.files.push(config);
            cluster.gateways.push(gateway);
        }
        cluster
    }

    /// `config` is the routers'.
    pub async fn start_with(routers: usize, gateways: usize, config: &str) -> Self {
        let nats = NatsServer::start().await;
        Self::over(nats.url(), nats, routers, gateways, config).await
    }
}

impl Cluster<NatsCluster> {
    /// Over three NATS servers.
    pub async fn start_on_three(routers: usize, gateways: usize) -> Self {
        let nats = NatsCluster::start().await;
        Self::over(nats.urls(), nats, routers, gateways, "").await
    }
}

impl<N> Cluster<N> {
    /// Over a NATS that runs already at these URLs.
    pub async fn over(urls: String, nats: N, routers: usize, gateways: usize, config: &str) -> Self {
        let mut cluster = Self {
            gateways: Vec::new(),
            routers: Vec::new(),
            urls,
            config: config.to_owned(),
            nats,
        };
        for _ in 0..routers {
            let router = cluster.router().await;
            cluster.routers.push(router);
        }
        for _ in 0..gateways {
            let gateway = cluster.gateway().await;
            cluster.gateways.push(gateway);
        }
        cluster
    }

    /// The same with another configuration, which later ones get too.
    pub async fn restart_router_with(&mut self, i: usize, config: &str) {
        config.clone_into(&mut self.config);
        self.restart_router(i).await;
    }

    async fn router(&self) -> Node {
        let config = file(&self.config);
        let path = config.path().to_str().expect("UTF-8").to_owned();
        let arguments = ["--config", &path, "--dev", "--nats", &self.urls, "--admin", FREE];
        let mut node = Node::spawn("herald-router", arguments);
        node.files.push(config);
        node.ready().await;
        node
    }

    async fn gateway(&self) -> Node {
        dev_gateway_with(&["--nats", &self.urls]).await
    }

    /// Another one in the place of a killed one, on other ports.
    pub async fn restart_router(&mut self, i: usize) {
        self.routers[i] = self.router().await;
    }

    pub async fn restart_gateway(&mut self, i: usize) {
        self.gateways[i] = self.gateway().await;
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.gateways.iter().map(Node::public).collect()
    }

    /// Waits until all call themselves ready.
    pub async fn ready(&mut self) {
        for node in self.routers.iter_mut().chain(&mut self.gateways) {
            node.ready().await;
        }
    }
}
