//! What every node tells of itself, be it a gateway or a router: its build, its process, its runtime, its way to NATS.

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter as count, gauge as measure};
use metrics_process::Collector;
use tokio::runtime::{Handle, RuntimeMetrics};

use super::catalogue::{Metric, counter, gauge};
use crate::{
    bus::{Bus, BusState},
    health::Condition,
};

const BUILD: &str = "herald_build_info";
const BUS_READY: &str = "herald_bus_ready";
const BUS_CONNECTED: &str = "herald_bus_connected";
const BUS_CONNECTS: &str = "herald_bus_connects_total";
const BUS_DISCONNECTS: &str = "herald_bus_disconnects_total";
const BUS_SLOW: &str = "herald_bus_slow_consumers_total";
const BUS_REFUSALS: &str = "herald_bus_refusals_total";
const LIVE_CONNECTED: &str = "herald_bus_live_connected";
const LIVE_CONNECTS: &str = "herald_bus_live_connects_total";
const BUS_CALLS: &str = "herald_bus_waiting_calls";
const CONDITION: &str = "herald_ready_condition";
const RELOADS: &str = "herald_config_reloads_total";
const RELOADED: &str = "herald_config_last_reload_timestamp_seconds";
const WORKERS: &str = "herald_runtime_workers";
const TASKS: &str = "herald_runtime_tasks";
const QUEUED: &str = "herald_runtime_queued_tasks";
const BUSY: &str = "herald_runtime_busy_ratio";

pub const METRICS: &[Metric] = &[
    gauge(BUILD, "1, with the binary and its version as labels"),
    gauge(
        BUS_READY,
        "1 while the message bus can be used, its streams included, else 0",
    ),
    gauge(
        BUS_CONNECTED,
        "1 while there is a connection to NATS, else 0; without NATS not shown",
    ),
    counter(
        BUS_CONNECTS,
        "Connections made to NATS; all but the first are reconnects",
    ),
    counter(BUS_DISCONNECTS, "Connections to NATS that were lost"),
    counter(
        BUS_SLOW,
        "Messages from NATS that were dropped because a subscription of this node could not keep up",
    ),
    counter(
        BUS_REFUSALS,
        "Attempts to connect to NATS that failed, by reason: credentials, tls, or other (no server there, a network's fault)",
    ),
    gauge(
        LIVE_CONNECTED,
        "1 while there is the connection to NATS over which live copies of messages come, else 0; without NATS not shown",
    ),
    counter(
        LIVE_CONNECTS,
        "Connections made to NATS for live copies of messages; all but the first are reconnects",
    ),
    gauge(BUS_CALLS, "Calls that wait for their answer over NATS"),
    gauge(
        CONDITION,
        "1 while a condition of readiness holds, by its name, else 0; the node is ready while all hold",
    ),
    counter(
        RELOADS,
        "Readings of the configuration on SIGHUP, by outcome: done, or refused, in which case nothing changed",
    ),
    gauge(RELOADED, "When the configuration in use was read, in Unix time"),
    gauge(WORKERS, "Threads that run tasks"),
    gauge(TASKS, "Tasks that live"),
    gauge(QUEUED, "Tasks that wait in the queue of all threads"),
    gauge(
        BUSY,
        "The part of their time that the threads were busy, of the last 5 s",
    ),
];

/// What is looked at only when somebody asks.
pub struct Sampled {
    process: Collector,
    runtime: RuntimeMetrics,
}

impl Sampled {
    /// The recorder must be installed before, and a runtime be there.
    pub fn new(binary: &'static str, version: &'static str) -> Self {
        let process = Collector::default();
        process.describe();
        measure!(BUILD, "binary" => binary, "version" => version).set(1.0);
        let runtime = Handle::current().metrics();
        measure!(WORKERS).set(number(runtime.num_workers()));
        for outcome in ["done", "refused"] {
            count!(RELOADS, "outcome" => outcome).increment(0);
        }
        measure!(RELOADED).set(unix_seconds());
        Self { process, runtime }
    }

    pub fn take(&self) {
        self.process.collect();
        measure!(TASKS).set(number(self.runtime.num_alive_tasks()));
        measure!(QUEUED).set(number(self.runtime.global_queue_depth()));
    }
}

/// How busy the runtime's threads are, from one look to the next.
pub struct Busy {
    runtime: RuntimeMetrics,
    looked: Instant,
    busy: Duration,
}

impl Busy {
    /// A runtime must be there.
    pub fn new() -> Self {
        let runtime = Handle::current().metrics();
        Self {
            busy: busy(&runtime),
            runtime,
            looked: Instant::now(),
        }
    }

    pub fn look(&mut self) {
        let (now, busy) = (Instant::now(), busy(&self.runtime));
        let time = now.duration_since(self.looked).as_secs_f64() * number(self.runtime.num_workers());
        if time > 0.0 {
            measure!(BUSY).set(busy.saturating_sub(self.busy).as_secs_f64() / time);
        }
        (self.looked, self.busy) = (now, busy);
    }
}

impl Default for Busy {
    fn default() -> Self {
        Self::new()
    }
}

/// Of all threads together.
fn busy(runtime: &RuntimeMetrics) -> Duration {
    let workers = 0..runtime.num_workers();
    workers.map(|at| runtime.worker_total_busy_duration(at)).sum()
}

/// Of the connection to NATS.
pub(crate) struct Connection {
    connected: Gauge,
    connects: Counter,
    disconnects: Counter,
    slow: Counter,
    refused: [Counter; 3],
}

/// Why a server could not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Credentials,
    Tls,
    Other,
}

impl Refusal {
    /// The client tells it only in words.
    pub(crate) fn of(words: &str) -> Self {
        let words = words.to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if says(&["authorization", "signing nonce", "authentication"]) {
            Self::Credentials
        } else if says(&["tls", "certificate", "fatal alert", "handshake"]) {
            Self::Tls
        } else {
            Self::Other
        }
    }
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            connected: measure!(BUS_CONNECTED),
            connects: count!(BUS_CONNECTS),
            disconnects: count!(BUS_DISCONNECTS),
            slow: count!(BUS_SLOW),
            refused: refusals(),
        }
    }

    pub(crate) fn connected(&self) {
        self.connected.set(1.0);
        self.connects.increment(1);
    }

    pub(crate) fn lost(&self) {
        self.connected.set(0.0);
        self.disconnects.increment(1);
    }

    pub(crate) fn dropped(&self) {
        self.slow.increment(1);
    }

    pub(crate) fn refused(&self, why: Refusal) {
        self.refused[why as usize].increment(1);
    }
}

/// The connection that live copies come over.
pub(crate) struct Live {
    connected: Gauge,
    connects: Counter,
    refused: [Counter; 3],
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            connected: measure!(LIVE_CONNECTED),
            connects: count!(LIVE_CONNECTS),
            refused: refusals(),
        }
    }

    pub(crate) fn connected(&self) {
        self.connected.set(1.0);
        self.connects.increment(1);
    }

    pub(crate) fn lost(&self) {
        self.connected.set(0.0);
    }

    pub(crate) fn refused(&self, why: Refusal) {
        self.refused[why as usize].increment(1);
    }
}

fn refusals() -> [Counter; 3] {
    let refused = |reason: &'static str| count!(BUS_REFUSALS, "reason" => reason);
    [refused("credentials"), refused("tls"), refused("other")]
}

/// How many calls wait over NATS.
pub(crate) fn bus_calls() -> Gauge {
    measure!(BUS_CALLS)
}

/// Tells whether the bus can be used, until dropped.
pub async fn follow(bus: &Bus) {
    let ready = measure!(BUS_READY);
    let mut state = bus.pubsub.state();
    loop {
        ready.set(if *state.borrow_and_update() == BusState::Ready {
            1.0
        } else {
            0.0
        });
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// The configuration was read anew, and is in use or refused.
pub fn reloaded(done: bool) {
    let outcome = if done { "done" } else { "refused" };
    count!(RELOADS, "outcome" => outcome).increment(1);
    if done {
        measure!(RELOADED).set(unix_seconds());
    }
}

fn unix_seconds() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn number(count: usize) -> f64 {
    count as f64
}

/// As they were when `/metrics` was asked for.
pub fn conditions(conditions: &[Condition]) {
    for Condition { name, fault } in conditions {
        measure!(CONDITION, "condition" => *name).set(if fault.is_none() { 1.0 } else { 0.0 });
    }
}
