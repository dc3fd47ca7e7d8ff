//! The gateway's metrics: every name, label and help text. No label holds an id of a user or a group.
//!
//! What the hot paths count is looked up once, here, and passed around as handles.

use std::time::{Duration, Instant};

use herald_proto::{CloseCode, Target, id};
use herald_router::{bus::BusState, tls::TlsMetrics};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use parking_lot::Mutex;

use crate::dialect::Dialect;

const CONNECTIONS: &str = "herald_gateway_connections";
const CONNECTIONS_LIMIT: &str = "herald_gateway_connections_limit";
const CONNECTS: &str = "herald_gateway_connects_total";
const CLOSES: &str = "herald_gateway_closes_total";
const COMMANDS: &str = "herald_gateway_commands_total";
const PUSHED: &str = "herald_gateway_pushed_frames_total";
const DROPPED: &str = "herald_gateway_dropped_pushes_total";
const BYTES_OUT: &str = "herald_gateway_sent_bytes_total";
const VOID: &str = "herald_gateway_void_messages_total";
const DUPLICATES: &str = "herald_gateway_live_duplicates_total";
const HOLES: &str = "herald_gateway_holes_total";
const HOLES_GIVEN_UP: &str = "herald_gateway_holes_given_up_total";
const SWEEPS: &str = "herald_gateway_sweeps_total";
const SWEEP_SECONDS: &str = "herald_gateway_sweep_seconds";
const TARGETS: &str = "herald_gateway_targets";
const WATERMARK: &str = "herald_gateway_watermark";
const ORDERS_FAILED: &str = "herald_gateway_group_changes_failed_total";
const RETRIES: &str = "herald_gateway_router_retries_total";
const ROUTER_SECONDS: &str = "herald_gateway_router_seconds";
const DELIVERY_SECONDS: &str = "herald_gateway_delivery_seconds";
const REFUSED: &str = "herald_gateway_refused_upgrades_total";
const PRESENCE_WRITES: &str = "herald_gateway_presence_writes_total";
const PRESENCE_PUSHES: &str = "herald_gateway_presence_pushes_total";
const WATCHES: &str = "herald_gateway_watches";
const LEASE_AGE: &str = "herald_gateway_lease_age_seconds";
const LOGINS: &str = "herald_gateway_logins_total";
const REFRESHES: &str = "herald_gateway_refreshes_total";
const HTTP_REQUESTS: &str = "herald_gateway_http_requests_total";
const CALLS: &str = "herald_gateway_calls_total";
const CALL_SECONDS: &str = "herald_gateway_call_seconds";
const CALLS_IN_FLIGHT: &str = "herald_gateway_calls_in_flight";
const TLS_HANDSHAKES: &str = "herald_gateway_tls_handshakes_total";
const TLS_EXPIRES: &str = "herald_gateway_tls_certificate_expires_timestamp_seconds";
const BUS_READY: &str = "herald_gateway_bus_ready";

pub fn describe() {
    describe_gauge!(CONNECTIONS, "Connections of known clients, by dialect");
    describe_gauge!(
        CONNECTIONS_LIMIT,
        "Connections that this node takes: limits.connections, or fewer where there are fewer file descriptors"
    );
    describe_counter!(CONNECTS, "Connections whose client became known, by dialect");
    describe_counter!(
        CLOSES,
        "Connections closed, by close code; \"peer\": the client closed or went away"
    );
    describe_counter!(COMMANDS, "Frames and requests from clients, by what they asked for");
    describe_counter!(PUSHED, "Pushes put into connections' outboxes");
    describe_counter!(DROPPED, "Ephemeral pushes dropped for one receiver, by reason");
    describe_counter!(
        BYTES_OUT,
        Unit::Bytes,
        "Bytes written to WebSockets and streams of events"
    );
    describe_counter!(VOID, "Messages stored so late that they are void");
    describe_counter!(DUPLICATES, "Live copies that had been delivered before");
    describe_counter!(HOLES, "Holes noticed in a target's order, each closed from the log");
    describe_counter!(HOLES_GIVEN_UP, "Holes that the log could not close");
    describe_counter!(SWEEPS, "Sweeps over all targets that came to their end");
    describe_histogram!(
        SWEEP_SECONDS,
        Unit::Seconds,
        "Time that a sweep took, what it found to be missing included"
    );
    describe_gauge!(TARGETS, "Users, groups and broadcasts that this node is subscribed to");
    describe_gauge!(WATERMARK, "The log's sequence up to which all has been delivered");
    describe_counter!(ORDERS_FAILED, "Changes of groups that could not be followed");
    describe_counter!(RETRIES, "Commands asked a second time of the routers");
    describe_histogram!(
        ROUTER_SECONDS,
        Unit::Seconds,
        "Time from a command to a router's answer"
    );
    describe_histogram!(
        DELIVERY_SECONDS,
        Unit::Seconds,
        "Time from a message's acceptance at the router until it is queued for all its receivers on this node"
    );
    describe_counter!(
        PRESENCE_WRITES,
        "Writes to the presence bucket, by kind (a user's key, or this node's lease)"
    );
    describe_counter!(PRESENCE_PUSHES, "Changes of presence told to connections that watch");
    describe_gauge!(
        WATCHES,
        "Users that connections of this node watch, counted for each connection"
    );
    describe_gauge!(
        LEASE_AGE,
        Unit::Seconds,
        "Time since this node's lease was last refreshed; beyond 10 s its users count as offline"
    );
    describe_counter!(LOGINS, "Attempts to log in, by outcome");
    describe_counter!(REFRESHES, "Tokens asked to be refreshed, by outcome");
    describe_counter!(
        HTTP_REQUESTS,
        "HTTP requests on the public listener, by path and status"
    );
    describe_counter!(
        CALLS,
        "Calls to backends, by service (of those that the configuration names) and outcome"
    );
    describe_histogram!(
        CALL_SECONDS,
        Unit::Seconds,
        "Time from a call to a backend to its end, by service"
    );
    describe_gauge!(CALLS_IN_FLIGHT, "Calls to backends that are under way");
    describe_counter!(REFUSED, "Upgrades and requests of clients refused, by reason");
    describe_counter!(TLS_HANDSHAKES, "TLS handshakes, by listener and outcome");
    describe_gauge!(
        TLS_EXPIRES,
        Unit::Seconds,
        "When the certificate of a listener ends, in Unix time"
    );
    describe_gauge!(BUS_READY, "1 while the message bus can be used, else 0");
}

/// Handles of what is counted often.
#[derive(Clone)]
pub struct Metrics {
    pub pushed: Counter,
    pub dropped_slow: Counter,
    pub bytes_out: Counter,
    pub void: Counter,
    pub live_duplicates: Counter,
    pub holes: Counter,
    pub holes_given_up: Counter,
    pub orders_failed: Counter,
    sweeps: Counter,
    sweep_seconds: Histogram,
    targets: Gauge,
    watermark: Gauge,
    pub router_retries: Counter,
    pub router_seconds: Histogram,
    delivery: [Histogram; 3],
    connections: [Gauge; Dialect::COUNT],
    connects: [Counter; Dialect::COUNT],
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The recorder must be installed before.
    pub fn new() -> Self {
        let delivery = |to: &'static str| histogram!(DELIVERY_SECONDS, "to" => to);
        let dialects = Dialect::NAMES;
        Self {
            pushed: counter!(PUSHED),
            dropped_slow: counter!(DROPPED, "reason" => "slow_consumer"),
            bytes_out: counter!(BYTES_OUT),
            void: counter!(VOID),
            live_duplicates: counter!(DUPLICATES),
            holes: counter!(HOLES),
            holes_given_up: counter!(HOLES_GIVEN_UP),
            orders_failed: counter!(ORDERS_FAILED),
            sweeps: counter!(SWEEPS),
            sweep_seconds: histogram!(SWEEP_SECONDS),
            targets: gauge!(TARGETS),
            watermark: gauge!(WATERMARK),
            router_retries: counter!(RETRIES),
            router_seconds: histogram!(ROUTER_SECONDS),
            delivery: [delivery("user"), delivery("group"), delivery("all")],
            connections: dialects.map(|dialect| gauge!(CONNECTIONS, "dialect" => dialect)),
            connects: dialects.map(|dialect| counter!(CONNECTS, "dialect" => dialect)),
        }
    }

    pub fn connected(&self, dialect: Dialect) {
        self.connections[dialect.index()].increment(1.0);
        self.connects[dialect.index()].increment(1);
    }

    pub fn disconnected(&self, dialect: Dialect) {
        self.connections[dialect.index()].decrement(1.0);
    }

    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    pub fn swept(&self, took: Duration, targets: usize, watermark: u64) {
        self.sweeps.increment(1);
        self.sweep_seconds.record(took.as_secs_f64());
        self.targets.set(targets as f64);
        self.watermark.set(watermark as f64);
    }

    /// `time` is the message's own, of a router's clock.
    pub fn delivery_seconds(&self, target: &Target, time: u64) {
        let histogram = match target {
            Target::User(_) => &self.delivery[0],
            Target::Group(_) => &self.delivery[1],
            Target::All => &self.delivery[2],
        };
        #[allow(clippy::cast_precision_loss)] // milliseconds of minutes at most
        histogram.record(id::now_ms().saturating_sub(time) as f64 / 1000.0);
    }
}

/// Of presence: of this node's users, and of those that are watched here.
pub struct PresenceCounters {
    pub keys: Counter,
    pub leases: Counter,
    pub pushes: Counter,
    watches: Gauge,
    age: Gauge,
    leased: Mutex<Option<Instant>>,
}

impl Default for PresenceCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl PresenceCounters {
    /// The recorder must be installed before.
    pub fn new() -> Self {
        Self {
            keys: counter!(PRESENCE_WRITES, "kind" => "key"),
            leases: counter!(PRESENCE_WRITES, "kind" => "lease"),
            pushes: counter!(PRESENCE_PUSHES),
            watches: gauge!(WATCHES),
            age: gauge!(LEASE_AGE),
            leased: Mutex::new(None),
        }
    }

    /// The lease has just been refreshed.
    pub fn leased(&self) {
        *self.leased.lock() = Some(Instant::now());
        self.age();
    }

    pub fn age(&self) {
        if let Some(at) = *self.leased.lock() {
            self.age.set(at.elapsed().as_secs_f64());
        }
    }

    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    pub fn watching(&self, count: usize) {
        self.watches.set(count as f64);
    }
}

/// None: the client closed, or went away.
pub fn closed(code: Option<CloseCode>) {
    let code = code.map_or_else(|| "peer".to_owned(), |code| code.code().to_string());
    counter!(CLOSES, "code" => code).increment(1);
}

pub fn command(verb: &'static str) {
    counter!(COMMANDS, "verb" => verb).increment(1);
}

pub fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub fn connections_limit(most: u32) {
    gauge!(CONNECTIONS_LIMIT).set(f64::from(most));
}

pub fn login(outcome: &'static str) {
    counter!(LOGINS, "outcome" => outcome).increment(1);
}

pub fn refresh(outcome: &'static str) {
    counter!(REFRESHES, "outcome" => outcome).increment(1);
}

pub fn http_request(path: &'static str, status: u16) {
    counter!(HTTP_REQUESTS, "path" => path, "status" => status.to_string()).increment(1);
}

/// A call to a backend, under way until this is dropped. One that nobody tells the outcome of was cancelled.
pub struct CallUnderWay {
    gauge: Gauge,
    service: String,
    begun: Instant,
    outcome: &'static str,
}

impl CallUnderWay {
    /// `service` is a name from the configuration, or nothing.
    pub fn begin(service: &str) -> Self {
        let gauge = gauge!(CALLS_IN_FLIGHT);
        gauge.increment(1.0);
        Self {
            gauge,
            service: service.to_owned(),
            begun: Instant::now(),
            outcome: "cancelled",
        }
    }

    pub fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        let service = std::mem::take(&mut self.service);
        histogram!(CALL_SECONDS, "service" => service.clone()).record(self.begun.elapsed().as_secs_f64());
        counter!(CALLS, "service" => service, "outcome" => self.outcome).increment(1);
    }
}

pub fn tls(listener: &'static str) -> TlsMetrics {
    TlsMetrics::new(TLS_HANDSHAKES, TLS_EXPIRES, listener)
}

pub fn bus(state: BusState) {
    gauge!(BUS_READY).set(if state == BusState::Ready { 1.0 } else { 0.0 });
}
