//! The router's metrics: every name, label and help text. No label holds an id of a user or a group.

use std::time::Duration;

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{
    bus::{Appended, BusError},
    failure::Failure,
    tls::TlsMetrics,
};

const COMMANDS: &str = "herald_router_commands_total";
const COMMAND_SECONDS: &str = "herald_router_command_seconds";
const APPENDS: &str = "herald_router_log_appends_total";
const APPEND_SECONDS: &str = "herald_router_log_append_seconds";
const ONLINE: &str = "herald_router_users_online";
const GROUPS: &str = "herald_router_groups";
const TLS_HANDSHAKES: &str = "herald_router_tls_handshakes_total";
const TLS_EXPIRES: &str = "herald_router_tls_certificate_expires_timestamp_seconds";
const BUS_CALLS: &str = "herald_bus_waiting_calls";

pub fn describe() {
    describe_gauge!(BUS_CALLS, "Calls that wait for their answer over NATS");
    describe_counter!(
        COMMANDS,
        "Commands answered, by verb and outcome (ok or the error code)"
    );
    describe_histogram!(
        COMMAND_SECONDS,
        Unit::Seconds,
        "Time from a command's arrival at this router to its answer, by verb"
    );
    describe_counter!(
        APPENDS,
        "Appends to the log, by outcome (stored, duplicate, or the error)"
    );
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from an append to its acknowledgement"
    );
    describe_gauge!(ONLINE, "Users online in the whole cluster, as this router knows it");
    describe_gauge!(
        GROUPS,
        "Groups with members in the whole cluster, as this router knows it"
    );
    describe_counter!(TLS_HANDSHAKES, "TLS handshakes of the admin listener, by outcome");
    describe_gauge!(
        TLS_EXPIRES,
        Unit::Seconds,
        "When the certificate of the admin listener ends, in Unix time"
    );
}

/// How many calls wait over NATS.
pub(crate) fn bus_calls() -> Gauge {
    gauge!(BUS_CALLS)
}

pub(crate) fn command(verb: &str, failure: Option<&Failure>) {
    let outcome = failure.map_or("ok", |f| f.code.as_str());
    counter!(COMMANDS, "verb" => known(verb), "outcome" => outcome).increment(1);
}

pub(crate) fn command_took(verb: &str, took: Duration) {
    histogram!(COMMAND_SECONDS, "verb" => known(verb)).record(took.as_secs_f64());
}

/// A label must be one of few.
fn known(verb: &str) -> &'static str {
    match verb {
        "ping" => "ping",
        "send" => "send",
        "join" => "join",
        "leave" => "leave",
        "connect" => "connect",
        "history" => "history",
        "kick" => "kick",
        "presence" => "presence",
        "user" => "user",
        "replace" => "replace",
        _ => "unknown",
    }
}

pub(crate) fn append(took: Duration, outcome: Result<&Appended, &BusError>) {
    let outcome = match outcome {
        Ok(appended) if appended.duplicate => "duplicate",
        Ok(_) => "stored",
        Err(BusError::Timeout) => "timeout",
        Err(BusError::Unavailable(_) | BusError::NoResponders) => "unavailable",
        Err(BusError::TooLarge) => "too_large",
        Err(BusError::Conflict | BusError::Refused(_)) => "refused",
    };
    counter!(APPENDS, "outcome" => outcome).increment(1);
    histogram!(APPEND_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn directory(online: usize, groups: usize) {
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    {
        gauge!(ONLINE).set(online as f64);
        gauge!(GROUPS).set(groups as f64);
    }
}

pub fn tls() -> TlsMetrics {
    TlsMetrics::new(TLS_HANDSHAKES, TLS_EXPIRES, "admin")
}
