//! From one message to the outboxes of all its local receivers.

use std::sync::Arc;

use herald_proto::{CloseCode, Target, cluster::Stored};

use crate::{
    conn::{Conn, flush::Batch, outbox::Pushed},
    dialect::Encoded,
    event::{Message, Push},
    metrics::Metrics,
};

pub(super) fn deliver(
    target: &Target,
    members: &[Arc<Conn>],
    stored: Stored,
    offset: Option<String>,
    metrics: &Metrics,
) {
    if members.is_empty() {
        return;
    }
    let durable = offset.is_some();
    let time = stored.time;
    let push = Push::Message(Message::new(target, stored, offset));
    push_to(members, &push, durable, metrics);
    metrics.delivery_seconds(target, time);
}

/// Puts one push into many outboxes. Never waits: a full outbox costs an ephemeral push, or a durable one's receiver
/// the connection, which it resumes.
pub(crate) fn push_to(members: &[Arc<Conn>], push: &Push, durable: bool, metrics: &Metrics) {
    let mut encoded = Encoded::new(push);
    let mut batch = Batch::default();
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
        match batch.push(conn, frame.clone()) {
            Pushed::Queued(_) => queued += 1,
            Pushed::Closed => {}
            Pushed::Full if durable => conn.close(CloseCode::SlowConsumer),
            Pushed::Full => metrics.dropped_slow.increment(1),
        }
    }
    metrics.pushed.increment(queued);
}
