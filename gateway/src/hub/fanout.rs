//! From one message to the outboxes of all its local receivers.

use std::sync::Arc;

use herald_proto::{CloseCode, Target, cluster::Stored};
use herald_router::telemetry::Span;
use tracing::debug;

use crate::{
    conn::{Conn, flush::UNTIMED, outbox::Pushed},
    dialect::Encoded,
    event::{Message, Push},
    metrics::Metrics,
};

/// Whether a message comes as it is sent, or from the log to one who was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    Live,
    Replayed,
}

pub(super) fn deliver(
    target: &Target,
    members: &[Arc<Conn>],
    stored: Stored,
    offset: Option<String>,
    comes: Comes,
    metrics: &Metrics,
) {
    if members.is_empty() {
        return;
    }
    let durable = offset.is_some();
    let time = stored.time;
    let span = (comes == Comes::Live).then(|| Span::remote("deliver", Some(&stored.trace)));
    let message = Message::new(target, stored, offset);
    let traced = trace(&message, target, members.len(), comes);
    let push = Push::Message(message);
    let timed = if comes == Comes::Live { time } else { UNTIMED };
    let queued = push_timed(members, &push, durable, timed, metrics);
    if let Some(span) = span {
        span.text("herald.to", target.kind());
        span.number("herald.receivers", members.len());
    }
    if let Some(message) = traced {
        members.iter().for_each(|conn| conn.trace(&message));
    }
    metrics.delivered(target, durable, queued);
    match comes {
        Comes::Live => metrics.fanned_out(target, members.len(), time),
        Comes::Replayed => metrics.replayed.increment(queued),
    }
}

/// The message's id, where the log is to tell of each write of it.
fn trace(message: &Message, target: &Target, receivers: usize, comes: Comes) -> Option<Arc<str>> {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return None;
    }
    let (id, offset) = (message.id.as_str(), message.offset.as_deref());
    debug!(
        message_id = id,
        offset,
        to = target.kind(),
        receivers,
        ?comes,
        "fanned out"
    );
    Some(id.into())
}

/// Puts one push into many outboxes. Never waits: a full outbox costs an ephemeral push, or a durable one's receiver
/// the connection, which it resumes.
pub(crate) fn push_to(members: &[Arc<Conn>], push: &Push, durable: bool, metrics: &Metrics) {
    push_timed(members, push, durable, UNTIMED, metrics);
}

/// How many were given it.
fn push_timed(members: &[Arc<Conn>], push: &Push, durable: bool, time: u64, metrics: &Metrics) -> u64 {
    let mut encoded = Encoded::new(push);
    let mut queued = 0;
    for conn in members {
        let left_out = conn.dialect.leaves_out(push);
        if left_out.is_some_and(|user| conn.is_of(user)) {
            continue;
        }
        let frame = encoded.frame(conn.dialect);
        if frame.is_empty() {
            continue;
        }
        match conn.push_timed(frame.clone(), time) {
            Pushed::Queued(_) => queued += 1,
            Pushed::Closed if durable => {} // it comes back for it
            Pushed::Closed => metrics.dropped_closing.increment(1),
            Pushed::Full if durable => conn.close(CloseCode::SlowConsumer),
            Pushed::Full => metrics.dropped_slow.increment(1),
        }
    }
    metrics.pushed.increment(queued);
    queued
}
