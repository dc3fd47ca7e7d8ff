//! Every metric of the gateway: its name, its labels, what it tells. Those that all nodes have stand with the router.

use herald_router::metrics::catalogue::{Metric, SECONDS, counter, gauge, histogram};

pub const CONNECTIONS: &str = "herald_gateway_connections";
pub const CONNECTS: &str = "herald_gateway_connects_total";
pub const CLOSES: &str = "herald_gateway_closes_total";
pub const REFUSED: &str = "herald_gateway_refused_upgrades_total";
pub const RESUMES: &str = "herald_gateway_resumes_total";
pub const GAPS: &str = "herald_gateway_gaps_total";
pub const OUTBOX_BYTES: &str = "herald_gateway_outbox_bytes";
pub const OUTBOX_LARGEST: &str = "herald_gateway_outbox_largest_bytes";
pub const USERS: &str = "herald_gateway_users";
pub const TLS_HANDSHAKES: &str = "herald_gateway_tls_handshakes_total";
pub const TLS_EXPIRES: &str = "herald_gateway_tls_certificate_expires_timestamp_seconds";

pub const COMMANDS: &str = "herald_gateway_commands_total";
pub const HTTP_REQUESTS: &str = "herald_gateway_http_requests_total";
pub const LOGINS: &str = "herald_gateway_logins_total";
pub const REFRESHES: &str = "herald_gateway_refreshes_total";
pub const SESSIONS_CREATED: &str = "herald_gateway_sessions_created_total";
pub const SESSIONS_ENDED: &str = "herald_gateway_sessions_ended_total";
pub const CALLS: &str = "herald_gateway_calls_total";
pub const CALL_SECONDS: &str = "herald_gateway_call_seconds";
pub const CALLS_IN_FLIGHT: &str = "herald_gateway_calls_in_flight";

pub const RECEIVED: &str = "herald_gateway_messages_received_total";
pub const ROUTER_SECONDS: &str = "herald_gateway_router_seconds";
pub const ROUTER_REQUESTS: &str = "herald_gateway_router_requests_total";
pub const RETRIES: &str = "herald_gateway_router_retries_total";

pub const DELIVERED: &str = "herald_gateway_messages_delivered_total";
pub const REPLAYED: &str = "herald_gateway_messages_replayed_total";
pub const PUSHED: &str = "herald_gateway_pushed_frames_total";
pub const DROPPED: &str = "herald_gateway_dropped_pushes_total";
pub const BYTES_OUT: &str = "herald_gateway_sent_bytes_total";
pub const FANOUT: &str = "herald_gateway_fanout_receivers";
pub const QUEUED_SECONDS: &str = "herald_gateway_queued_seconds";
pub const DELIVERY_SECONDS: &str = "herald_gateway_delivery_seconds";

pub const VOID: &str = "herald_gateway_void_messages_total";
pub const DUPLICATES: &str = "herald_gateway_live_duplicates_total";
pub const HOLES: &str = "herald_gateway_holes_total";
pub const HOLES_GIVEN_UP: &str = "herald_gateway_holes_given_up_total";
pub const SWEEPS: &str = "herald_gateway_sweeps_total";
pub const SWEEP_SECONDS: &str = "herald_gateway_sweep_seconds";
pub const TARGETS: &str = "herald_gateway_targets";
pub const WATERMARK: &str = "herald_gateway_watermark";
pub const ORDERS_FAILED: &str = "herald_gateway_group_changes_failed_total";

pub const PRESENCE_WRITES: &str = "herald_gateway_presence_writes_total";
pub const PRESENCE_PUSHES: &str = "herald_gateway_presence_pushes_total";
pub const WATCHES: &str = "herald_gateway_watches";
pub const LEASE_AGE: &str = "herald_gateway_lease_age_seconds";

/// From one to more than a node holds.
const RECEIVERS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
];

pub const METRICS: &[Metric] = &[
    // Connections.
    gauge(
        CONNECTIONS,
        "Open connections, by dialect and state: connecting (the client is not known yet), connected, or closing",
    ),
    counter(CONNECTS, "Connections whose client became known, by dialect"),
    counter(
        CLOSES,
        "Connections closed, by close code; \"peer\": the client closed or went away",
    ),
    counter(REFUSED, "Upgrades and requests of clients refused, by reason"),
    counter(
        RESUMES,
        "Clients that came with a cursor, by outcome: resumed, resumed_with_gap, or not_resumed (another log)",
    ),
    counter(
        GAPS,
        "Connections for which messages may be gone for good, by how they are told: connect (with the answer to it), \
         notice, or close (4005, so that they come back and are told)",
    ),
    gauge(
        OUTBOX_BYTES,
        "Bytes that wait to be written, of all connections; looked at every 5 s",
    ),
    gauge(
        OUTBOX_LARGEST,
        "Bytes that wait for the connection that has most of them; looked at every 5 s",
    ),
    gauge(USERS, "Users with a connection to this node; looked at every 5 s"),
    counter(TLS_HANDSHAKES, "TLS handshakes, by listener and outcome"),
    gauge(TLS_EXPIRES, "When the certificate of a listener ends, in Unix time"),
    // What clients and applications ask for.
    counter(COMMANDS, "Frames and requests from clients, by what they asked for"),
    counter(
        HTTP_REQUESTS,
        "HTTP requests on the public listener, by path and status",
    ),
    counter(LOGINS, "Attempts to log in, by outcome"),
    counter(REFRESHES, "Tokens asked to be refreshed, by outcome"),
    counter(SESSIONS_CREATED, "Sessions that were begun here by a login"),
    counter(
        SESSIONS_ENDED,
        "Sessions that were ended here before their time, by reason: logout, copied (an old token was shown), relogin, or kick",
    ),
    counter(
        CALLS,
        "Calls to backends, by service and route (of those that the configuration names; no route: called by name) and outcome",
    ),
    histogram(
        CALL_SECONDS,
        SECONDS,
        "Time from a call to a backend to its end, by service",
    ),
    gauge(CALLS_IN_FLIGHT, "Calls to backends that are under way"),
    // Messages on their way in.
    counter(
        RECEIVED,
        "Messages handed to the routers, by who sent them (client or api), kind of target and whether they are durable",
    ),
    histogram(
        ROUTER_SECONDS,
        SECONDS,
        "Time from a command to a router's answer, a second try included",
    ),
    counter(
        ROUTER_REQUESTS,
        "Commands asked of the routers, by verb and outcome (ok or the error code)",
    ),
    counter(RETRIES, "Commands asked a second time of the routers"),
    // And out.
    counter(
        DELIVERED,
        "Messages put into connections' outboxes, by kind of target and whether they are durable; one for each receiver",
    ),
    counter(
        REPLAYED,
        "Those of them that came from the log, for connections that had been away or behind",
    ),
    counter(PUSHED, "Pushes of any kind put into connections' outboxes"),
    counter(
        DROPPED,
        "Pushes that one receiver was not given, by reason: slow_consumer (ephemeral, the outbox was full), \
         closing (ephemeral, the connection was ending), or expired (their ttl had passed)",
    ),
    counter(BYTES_OUT, "Bytes written to WebSockets and streams of events"),
    histogram(
        FANOUT,
        RECEIVERS,
        "Connections of this node that a message was for as it came, by kind of target",
    ),
    histogram(
        QUEUED_SECONDS,
        SECONDS,
        "Time from a message's acceptance at the router until it is queued for all its receivers on this node, by kind of \
         target; by the clocks of both; without replays",
    ),
    histogram(
        DELIVERY_SECONDS,
        SECONDS,
        "Time from a message's acceptance at the router until it is written to its receivers' sockets: one sample, the \
         oldest message, of each batch of writes; by the clocks of both; without replays and what clients do not read",
    ),
    // Order and completeness.
    counter(VOID, "Messages stored so late that they are void"),
    counter(DUPLICATES, "Live copies that had been delivered before"),
    counter(HOLES, "Holes noticed in a target's order, each closed from the log"),
    counter(HOLES_GIVEN_UP, "Holes that the log could not close"),
    counter(SWEEPS, "Sweeps over all targets that came to their end"),
    histogram(
        SWEEP_SECONDS,
        SECONDS,
        "Time that a sweep took, what it found to be missing included",
    ),
    gauge(TARGETS, "Users, groups and broadcasts that this node is subscribed to"),
    gauge(WATERMARK, "The log's sequence up to which all has been delivered"),
    counter(ORDERS_FAILED, "Changes of groups that could not be followed"),
    // Presence.
    counter(
        PRESENCE_WRITES,
        "Writes to the presence bucket, by kind (a user's key, or this node's lease)",
    ),
    counter(PRESENCE_PUSHES, "Changes of presence told to connections that watch"),
    gauge(
        WATCHES,
        "Users that connections of this node watch, counted for each connection",
    ),
    gauge(
        LEASE_AGE,
        "Time since this node's lease was last refreshed; beyond 10 s its users count as offline",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_ends_in_its_base_unit_and_has_help() {
        for metric in METRICS {
            assert_eq!(metric.fault(), None, "{}", metric.name);
        }
    }
}
