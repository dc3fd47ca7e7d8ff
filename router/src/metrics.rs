//! The router's metrics: every name, label and help text. No label holds an id of a user or a group.

use std::time::Duration;

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{
    bus::{Appended, BusError},
    events::Kind,
    failure::Failure,
    tls::TlsMetrics,
};

const COMMANDS: &str = "herald_router_commands_total";
const COMMAND_SECONDS: &str = "herald_router_command_seconds";
const APPENDS: &str = "herald_router_log_appends_total";
const APPEND_SECONDS: &str = "herald_router_log_append_seconds";
const ONLINE: &str = "herald_router_users_online";
const GROUPS: &str = "herald_router_groups";
const EVENTS: &str = "herald_events_total";
const WEBHOOK_REQUESTS: &str = "herald_webhook_requests_total";
const WEBHOOK_SECONDS: &str = "herald_webhook_request_seconds";
const WEBHOOK_EVENTS: &str = "herald_webhook_events_total";
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
    describe_counter!(
        EVENTS,
        "Events of this node, by kind and outcome (published, dropped: the queue was full, refused: by the bus)"
    );
    describe_counter!(
        WEBHOOK_REQUESTS,
        "Requests to a webhook, by its name and outcome (accepted, refused, failed)"
    );
    describe_histogram!(
        WEBHOOK_SECONDS,
        Unit::Seconds,
        "Time that a webhook takes for a request"
    );
    describe_counter!(
        WEBHOOK_EVENTS,
        "Events for a webhook, by its name and outcome (delivered, parked, lost: no longer kept)"
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
        "send" => "send",
        "join" => "join",
        "leave" => "leave",
        "connect" => "connect",
        "history" => "history",
        "kick" => "kick",
        "end-session" => "end-session",
        "users" => "users",
        "groups" => "groups",
        "group" => "group",
        "members" => "members",
        "nodes" => "nodes",
        "delete-group" => "delete-group",
        "purge" => "purge",
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

pub(crate) fn event(kind: Kind, outcome: &'static str) {
    counter!(EVENTS, "kind" => kind.as_str(), "outcome" => outcome).increment(1);
}

/// Names of webhooks are of the configuration.
pub(crate) fn webhook(name: &str, outcome: &'static str, events: usize, took: Duration) {
    counter!(WEBHOOK_REQUESTS, "webhook" => name.to_owned(), "outcome" => outcome).increment(1);
    histogram!(WEBHOOK_SECONDS, "webhook" => name.to_owned()).record(took.as_secs_f64());
    if outcome == "accepted" {
        let delivered = counter!(WEBHOOK_EVENTS, "webhook" => name.to_owned(), "outcome" => "delivered");
        delivered.increment(events as u64);
    }
}

pub(crate) fn webhook_parked(name: &str) {
    counter!(WEBHOOK_EVENTS, "webhook" => name.to_owned(), "outcome" => "parked").increment(1);
}

pub(crate) fn webhook_lost(name: &str, events: u64) {
    counter!(WEBHOOK_EVENTS, "webhook" => name.to_owned(), "outcome" => "lost").increment(events);
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
