//! The router's metrics: every name, label and help text, with those that all nodes have in [`node`]. No label holds an
//! id of a user or a group.

use std::time::Duration;

use herald_proto::Target;
use metrics::{counter as count, gauge as measure, histogram as record};

use crate::{
    bus::{Appended, BusError},
    events::Kind,
    failure::Failure,
    tls::TlsMetrics,
};

pub mod catalogue;
pub mod cpu;
pub mod node;

use catalogue::{Metric, SECONDS, counter, gauge, histogram};

const COMMANDS: &str = "herald_router_commands_total";
const COMMAND_SECONDS: &str = "herald_router_command_seconds";
const MESSAGES: &str = "herald_router_messages_total";
const APPENDS: &str = "herald_router_log_appends_total";
const APPEND_SECONDS: &str = "herald_router_log_append_seconds";
const APPENDED_BYTES: &str = "herald_router_log_appended_bytes_total";
const SERVING: &str = "herald_router_serving";
const ONLINE: &str = "herald_router_users_online";
const SESSIONS: &str = "herald_router_sessions";
const GROUPS: &str = "herald_router_groups";
const EVENTS: &str = "herald_events_total";
const WEBHOOK_REQUESTS: &str = "herald_webhook_requests_total";
const WEBHOOK_SECONDS: &str = "herald_webhook_request_seconds";
const WEBHOOK_EVENTS: &str = "herald_webhook_events_total";
const TLS_HANDSHAKES: &str = "herald_router_tls_handshakes_total";
const TLS_EXPIRES: &str = "herald_router_tls_certificate_expires_timestamp_seconds";

pub const METRICS: &[Metric] = &[
    counter(
        COMMANDS,
        "Commands answered, by verb and outcome (ok or the error code)",
    ),
    histogram(
        COMMAND_SECONDS,
        SECONDS,
        "Time from a command's arrival at this router to its answer, by verb",
    ),
    counter(
        MESSAGES,
        "Messages taken in for delivery, by kind of target and whether they are durable; repeated ones included",
    ),
    counter(
        APPENDS,
        "Appends to the log, by outcome (stored, duplicate, or the error)",
    ),
    histogram(
        APPEND_SECONDS,
        SECONDS,
        "Time from an append to its acknowledgement, or to its failure",
    ),
    counter(APPENDED_BYTES, "Bytes stored in the log, headers not counted"),
    gauge(SERVING, "1 while this router takes commands, else 0"),
    gauge(ONLINE, "Users online in the whole cluster, as this router knows it"),
    gauge(
        SESSIONS,
        "HTTP sessions that last, in the whole cluster, as this router knows it",
    ),
    gauge(
        GROUPS,
        "Groups with members in the whole cluster, as this router knows it",
    ),
    counter(
        EVENTS,
        "Events of this node, by kind and outcome (published, dropped: the queue was full, refused: by the bus)",
    ),
    counter(
        WEBHOOK_REQUESTS,
        "Requests to a webhook, by its name and outcome (accepted, refused, failed)",
    ),
    histogram(WEBHOOK_SECONDS, SECONDS, "Time that a webhook takes for a request"),
    counter(
        WEBHOOK_EVENTS,
        "Events for a webhook, by its name and outcome (delivered, parked, lost: no longer kept)",
    ),
    counter(TLS_HANDSHAKES, "TLS handshakes of the admin listener, by outcome"),
    gauge(
        TLS_EXPIRES,
        "When the certificate of the admin listener ends, in Unix time",
    ),
];

pub(crate) fn command(verb: &str, failure: Option<&Failure>) {
    let outcome = failure.map_or("ok", |f| f.code.as_str());
    count!(COMMANDS, "verb" => known(verb), "outcome" => outcome).increment(1);
}

pub(crate) fn command_took(verb: &str, took: Duration) {
    record!(COMMAND_SECONDS, "verb" => known(verb)).record(took.as_secs_f64());
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
        "users" => "users",
        "groups" => "groups",
        "group" => "group",
        "members" => "members",
        "nodes" => "nodes",
        "delete-group" => "delete-group",
        "purge" => "purge",
        "end-session" => "end-session",
        "presence" => "presence",
        "user" => "user",
        "replace" => "replace",
        _ => "unknown",
    }
}

pub(crate) fn message(to: &Target, durable: bool) {
    count!(MESSAGES, "to" => to.kind(), "durable" => truth(durable)).increment(1);
}

/// As it stands in a label.
pub fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

pub(crate) fn append(took: Duration, bytes: usize, outcome: Result<&Appended, &BusError>) {
    let outcome = match outcome {
        Ok(appended) if appended.duplicate => "duplicate",
        Ok(_) => "stored",
        Err(BusError::Timeout) => "timeout",
        Err(BusError::Unavailable(_) | BusError::NoResponders) => "unavailable",
        Err(BusError::TooLarge) => "too_large",
        Err(BusError::Conflict | BusError::Refused(_)) => "refused",
    };
    count!(APPENDS, "outcome" => outcome).increment(1);
    record!(APPEND_SECONDS).record(took.as_secs_f64());
    if outcome == "stored" {
        count!(APPENDED_BYTES).increment(bytes as u64);
    }
}

pub(crate) fn event(kind: Kind, outcome: &'static str) {
    count!(EVENTS, "kind" => kind.as_str(), "outcome" => outcome).increment(1);
}

/// Names of webhooks are of the configuration.
pub(crate) fn webhook(name: &str, outcome: &'static str, events: usize, took: Duration) {
    count!(WEBHOOK_REQUESTS, "webhook" => name.to_owned(), "outcome" => outcome).increment(1);
    record!(WEBHOOK_SECONDS, "webhook" => name.to_owned()).record(took.as_secs_f64());
    if outcome == "accepted" {
        let delivered = count!(WEBHOOK_EVENTS, "webhook" => name.to_owned(), "outcome" => "delivered");
        delivered.increment(events as u64);
    }
}

pub(crate) fn webhook_parked(name: &str) {
    count!(WEBHOOK_EVENTS, "webhook" => name.to_owned(), "outcome" => "parked").increment(1);
}

pub(crate) fn webhook_lost(name: &str, events: u64) {
    count!(WEBHOOK_EVENTS, "webhook" => name.to_owned(), "outcome" => "lost").increment(events);
}

/// Of the directory: the whole cluster, as this router knows it.
pub(crate) fn directory(online: usize, sessions: usize, groups: usize) {
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    {
        measure!(ONLINE).set(online as f64);
        measure!(SESSIONS).set(sessions as f64);
        measure!(GROUPS).set(groups as f64);
    }
}

pub(crate) fn serving(serves: bool) {
    measure!(SERVING).set(if serves { 1.0 } else { 0.0 });
}

/// Counters that alerts look at are there from the start, at 0. The recorder must be installed before.
pub fn begin() {
    for outcome in ["stored", "duplicate", "timeout", "unavailable", "too_large", "refused"] {
        count!(APPENDS, "outcome" => outcome).increment(0);
    }
    serving(false);
}

pub fn tls() -> TlsMetrics {
    TlsMetrics::new(TLS_HANDSHAKES, TLS_EXPIRES, "admin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_ends_in_its_base_unit_and_has_help() {
        for metric in METRICS.iter().chain(node::METRICS) {
            assert_eq!(metric.fault(), None, "{}", metric.name);
        }
    }
}
