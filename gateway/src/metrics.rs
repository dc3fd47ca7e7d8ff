//! What the gateway counts. All names, labels and help stand in [`names`]. No label holds an id of a user or a group.
//!
//! What the hot paths count is looked up once, here, and passed around as handles.

use std::time::Duration;

use herald_proto::{CloseCode, ErrorCode, Target, id};
use herald_router::{metrics::truth, tls::TlsMetrics};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::dialect::Dialect;

mod calls;
mod names;
mod presence;
mod stage;

pub use calls::CallUnderWay;
pub use names::METRICS;
pub use presence::PresenceCounters;
pub use stage::{Stage, Staged};

use names::*;

/// Of targets, in the order of [`kind`].
const KINDS: [&str; 3] = ["user", "group", "all"];

fn kind(target: &Target) -> usize {
    match target {
        Target::User(_) => 0,
        Target::Group(_) => 1,
        Target::All => 2,
    }
}

/// Handles of what is counted often.
#[derive(Clone)]
pub struct Metrics {
    pub pushed: Counter,
    pub replayed: Counter,
    pub dropped_slow: Counter,
    pub dropped_closing: Counter,
    pub expired: Counter,
    pub bytes_out: Counter,
    pub void: Counter,
    pub live_duplicates: Counter,
    pub holes: Counter,
    pub holes_given_up: Counter,
    pub orders_failed: Counter,
    pub gaps_closed: Counter,
    pub gaps_noticed: Counter,
    pub delivery_seconds: Histogram,
    pub router_retries: Counter,
    pub router_seconds: Histogram,
    sweeps: Counter,
    sweep_seconds: Histogram,
    targets: Gauge,
    users: Gauge,
    watermark: Gauge,
    queued_seconds: [Histogram; 3],
    fanout: [Histogram; 3],
    /// By kind of target, ephemeral and durable.
    delivered: [[Counter; 2]; 3],
    connections: [[Gauge; Stage::COUNT]; Dialect::COUNT],
    connects: [Counter; Dialect::COUNT],
    outbox_bytes: Gauge,
    outbox_largest: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The recorder must be installed before.
    pub fn new() -> Self {
        let dropped = |reason: &'static str| counter!(DROPPED, "reason" => reason);
        let gaps = |told: &'static str| counter!(GAPS, "told" => told);
        let delivered = |to: &'static str, durable| counter!(DELIVERED, "to" => to, "durable" => truth(durable));
        let in_stage = |dialect: &'static str, state| gauge!(CONNECTIONS, "dialect" => dialect, "state" => state);
        let dialects = Dialect::NAMES;
        gaps("connect").increment(0);
        Self {
            pushed: counter!(PUSHED),
            replayed: counter!(REPLAYED),
            dropped_slow: dropped("slow_consumer"),
            dropped_closing: dropped("closing"),
            expired: dropped("expired"),
            bytes_out: counter!(BYTES_OUT),
            void: counter!(VOID),
            live_duplicates: counter!(DUPLICATES),
            holes: counter!(HOLES),
            holes_given_up: counter!(HOLES_GIVEN_UP),
            orders_failed: counter!(ORDERS_FAILED),
            gaps_closed: gaps("close"),
            gaps_noticed: gaps("notice"),
            delivery_seconds: histogram!(DELIVERY_SECONDS),
            router_retries: counter!(RETRIES),
            router_seconds: histogram!(ROUTER_SECONDS),
            sweeps: counter!(SWEEPS),
            sweep_seconds: histogram!(SWEEP_SECONDS),
            targets: gauge!(TARGETS),
            users: gauge!(USERS),
            watermark: gauge!(WATERMARK),
            queued_seconds: KINDS.map(|to| histogram!(QUEUED_SECONDS, "to" => to)),
            fanout: KINDS.map(|to| histogram!(FANOUT, "to" => to)),
            delivered: KINDS.map(|to| [false, true].map(|durable| delivered(to, durable))),
            connections: dialects.map(|dialect| Stage::NAMES.map(|state| in_stage(dialect, state))),
            connects: dialects.map(|dialect| counter!(CONNECTS, "dialect" => dialect)),
            outbox_bytes: gauge!(OUTBOX_BYTES),
            outbox_largest: gauge!(OUTBOX_LARGEST),
        }
    }

    /// A connection goes from one stage to another; None: it is not open yet, or no longer.
    pub fn stage(&self, dialect: Dialect, from: Option<Stage>, to: Option<Stage>) {
        let of_dialect = &self.connections[dialect.index()];
        if let Some(from) = from {
            of_dialect[from as usize].decrement(1.0);
        }
        if let Some(to) = to {
            of_dialect[to as usize].increment(1.0);
        }
        if to == Some(Stage::Connected) {
            self.connects[dialect.index()].increment(1);
        }
    }

    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    pub fn swept(&self, took: Duration, targets: usize, watermark: u64) {
        self.sweeps.increment(1);
        self.sweep_seconds.record(took.as_secs_f64());
        self.targets.set(targets as f64);
        self.watermark.set(watermark as f64);
    }

    /// A message as it comes was for so many connections, and queued for all of them by now. `time` is its own, of a
    /// router's clock.
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    pub fn fanned_out(&self, target: &Target, receivers: usize, time: u64) {
        let kind = kind(target);
        self.fanout[kind].record(receivers as f64);
        self.queued_seconds[kind].record(since(time));
    }

    pub fn delivered(&self, target: &Target, durable: bool, receivers: u64) {
        self.delivered[kind(target)][usize::from(durable)].increment(receivers);
    }

    /// What the node holds now.
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    pub fn holds(&self, users: usize, bytes: usize, largest: usize) {
        self.users.set(users as f64);
        self.outbox_bytes.set(bytes as f64);
        self.outbox_largest.set(largest as f64);
    }
}

/// Seconds since a message's time, of a router's clock.
pub fn since(time: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // milliseconds of minutes at most
    let ms = id::now_ms().saturating_sub(time) as f64;
    ms / 1000.0
}

/// None: the client closed, or went away.
pub fn closed(code: Option<CloseCode>) {
    let code = code.map_or_else(|| "peer".to_owned(), |code| code.code().to_string());
    counter!(CLOSES, "code" => code).increment(1);
}

/// A client has come with a cursor.
pub fn resumed(resumed: bool, gap: bool) {
    let outcome = match (resumed, gap) {
        (true, false) => "resumed",
        (true, true) => "resumed_with_gap",
        (false, _) => "not_resumed",
    };
    counter!(RESUMES, "outcome" => outcome).increment(1);
    if gap {
        counter!(GAPS, "told" => "connect").increment(1);
    }
}

pub fn command(verb: &'static str) {
    counter!(COMMANDS, "verb" => verb).increment(1);
}

/// `from` is "client" or "api".
pub fn received(from: &'static str, to: &Target, durable: bool) {
    counter!(RECEIVED, "from" => from, "to" => to.kind(), "durable" => truth(durable)).increment(1);
}

/// Of the gateway's own verbs. None: it was done.
pub fn router_request(verb: &'static str, failed: Option<ErrorCode>) {
    let outcome = failed.map_or("ok", |code| code.as_str());
    counter!(ROUTER_REQUESTS, "verb" => verb, "outcome" => outcome).increment(1);
}

pub fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub fn login(outcome: &'static str) {
    counter!(LOGINS, "outcome" => outcome).increment(1);
}

pub fn refresh(outcome: &'static str) {
    counter!(REFRESHES, "outcome" => outcome).increment(1);
}

pub fn session_created() {
    counter!(SESSIONS_CREATED).increment(1);
}

pub fn session_ended(reason: &'static str) {
    counter!(SESSIONS_ENDED, "reason" => reason).increment(1);
}

pub fn http_request(path: &'static str, status: u16) {
    counter!(HTTP_REQUESTS, "path" => path, "status" => status.to_string()).increment(1);
}

pub fn tls(listener: &'static str) -> TlsMetrics {
    TlsMetrics::new(TLS_HANDSHAKES, TLS_EXPIRES, listener)
}
