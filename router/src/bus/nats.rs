//! The bus over NATS: core NATS carries requests and live copies, JetStream the log and the buckets. Live copies have a
//! connection of their own, the [`wire`].
//!
//! Nothing here waits for a connection. While there is none, commands fail at once with `Unavailable` instead of being
//! buffered by the client, which would send them whenever the server comes back, long after their callers gave up.

use std::{sync::Arc, time::Duration};

use herald_proto::subject::Names;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Bus, BusState, EventLimits, LogLimits, Result};
pub use access::{Access, Credentials, Text, Tls};
use events::NatsEvents;
pub(super) use headers::to_map as header_map;
use kv::NatsKv;
use link::Link;
use log::NatsLog;
use provision::Supervisor;
use pubsub::NatsPubSub;
use wire::Wire;

mod access;
mod ack;
mod calls;
mod direct;
mod error;
mod events;
mod headers;
mod kept;
mod kv;
mod link;
mod log;
mod provision;
mod pubsub;
mod streams;
mod time;
mod wire;

/// A read that takes longer has failed: the same as for appends, for whoever waits is the same.
const READ: Duration = herald_proto::limits::APPEND;

#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// Any of the cluster's servers; the client learns of the others.
    pub urls: Vec<String>,
    pub access: Access,
    /// What every name on NATS starts with.
    pub prefix: String,
    /// The client's name, as NATS' monitoring shows it.
    pub name: String,
    pub limits: LogLimits,
    /// None: what happens is not kept. Of routers.
    pub events: Option<EventLimits>,
    /// Create the stream and the buckets and keep their limits: routers do, gateways wait until they are there.
    pub provision: bool,
}

/// What the parts of the bus share.
#[derive(Clone)]
struct Shared {
    link: Arc<Link>,
    names: Arc<Names>,
    tasks: TaskTracker,
    /// Ends all tasks of the bus.
    shutdown: CancellationToken,
    /// A stream did not answer: look whether all are there still.
    look: Arc<Notify>,
    /// Why the bus is not ready.
    trouble: Arc<Mutex<Option<String>>>,
    /// Live copies come over a connection of their own.
    wire: Arc<Wire>,
    /// Grows when live copies may have been lost.
    disturbed: watch::Sender<u64>,
}

/// Returns without waiting for NATS; [`super::PubSub::state`] tells when it is there. Fails only for malformed URLs.
///
/// `shutdown` ends the bus itself: cancel it when nobody uses the bus any more, not when draining begins.
pub async fn bus(config: NatsConfig, shutdown: CancellationToken, tasks: &TaskTracker) -> Result<Bus> {
    let trouble: Arc<Mutex<Option<String>>> = Arc::default();
    let disturbed = watch::Sender::new(0);
    let shared = Shared {
        link: Arc::new(Link::connect(&config, trouble.clone(), disturbed.clone(), shutdown.clone()).await?),
        wire: Wire::start(&config, disturbed.clone(), shutdown.clone(), tasks)?,
        disturbed,
        names: Arc::new(Names::new(config.prefix.as_str())),
        tasks: tasks.clone(),
        shutdown,
        look: Arc::default(),
        trouble,
    };
    let state = watch::Sender::new(BusState::Starting);
    let id = watch::Sender::new(None);
    let bus = Bus {
        pubsub: Arc::new(NatsPubSub::new(shared.clone(), state.subscribe())),
        log: Arc::new(NatsLog::new(shared.clone(), id.subscribe())),
        events: Arc::new(NatsEvents::new(shared.clone())),
        kv: Arc::new(NatsKv::new(shared.clone())),
    };
    tasks.spawn(Supervisor::new(shared, config, state, id).run());
    Ok(bus)
}
