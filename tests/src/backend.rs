//! Backends that behave well, and badly in every way: one on NATS, one behind HTTP, and a cluster whose gateway knows both.

use std::net::SocketAddr;

use crate::{
    cluster::dev_router,
    gateway::{FREE, file},
    metrics::Metrics,
    nats::NatsServer,
    process::Node,
};

pub mod calls;
pub mod http;
pub mod nats;
pub mod program;

pub use self::{http::HttpBackend, nats::NatsBackend, program::Program};

/// The prefix of `--dev`.
pub const PREFIX: &str = "herald-dev";

/// Both backends offer these methods; `call` names one.
///
/// - `echo`: what it got, with its content type
/// - `headers`: the request's headers as JSON, their names in small letters
/// - `bytes`: bytes that are no JSON, and no content type
/// - `silent`: never anything
/// - `slow`: what it got, 300 ms later
/// - `twice`: two answers
/// - `refuse`: an error that is the caller's fault
/// - `fail`: an error that is its own
/// - `dies`: breaks off, or goes without a word
/// - `huge`: an answer of 10 MB
/// - `liar`: calls JSON what is none
pub const METHODS: [&str; 11] = [
    "echo", "headers", "bytes", "silent", "slow", "twice", "refuse", "fail", "dies", "huge", "liar",
];

/// The size of a `huge` answer.
pub const HUGE: usize = 10_000_000;

/// NATS, a router, and one gateway with `--dev` and the services `nats` and `http`.
pub struct World {
    pub gateway: Node,
    pub http: HttpBackend,
    pub backend: NatsBackend,
    _router: Node,
    pub nats: NatsServer,
}

impl World {
    /// Of both services each call may take half a second.
    pub async fn start() -> Self {
        Self::start_with("timeout = \"500ms\"", "").await
    }

    /// `each` stands in the tables of both services, `more` after them.
    pub async fn start_with(each: &str, more: &str) -> Self {
        let nats = NatsServer::start().await;
        let router = dev_router(&nats.url()).await;
        let backend = NatsBackend::start(&nats.url(), PREFIX, "nats").await;
        let http = HttpBackend::start().await;
        let config = format!(
            "[services.nats]\nclients = true\n{each}\n[services.http]\nclients = true\nurl = \"{}\"\n{each}\n{more}\n",
            http.url()
        );
        let gateway = gateway(&nats.url(), &config).await;
        Self {
            gateway,
            http,
            backend,
            _router: router,
            nats,
        }
    }

    pub fn public(&self) -> SocketAddr {
        self.gateway.public()
    }

    /// Calls under way as the gateway counts them, and those of them that wait on NATS.
    pub async fn waiting(&self) -> (f64, f64) {
        let metrics = Metrics::of(self.gateway.admin()).await;
        let of = |name| metrics.get(name);
        (of("herald_gateway_calls_in_flight"), of("herald_bus_waiting_calls"))
    }
}

/// With `--dev`, over this NATS, and with this configuration.
pub async fn gateway(nats: &str, config: &str) -> Node {
    let config = file(config);
    let path = config.path().to_str().expect("UTF-8").to_owned();
    let arguments = [
        "--config", &path, "--dev", "--nats", nats, "--listen", FREE, "--admin", FREE,
    ];
    let mut node = Node::spawn("herald-gateway", arguments);
    node.files.push(config);
    node.ready().await;
    node.listens("public").await;
    node
}
