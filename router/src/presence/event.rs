//! What an event of the bucket's watch means for a table.

use std::{borrow::Cow, time::Instant};

use herald_proto::cluster::{HttpSession, LastSeen, Lease};
use prost::{DecodeError, Message};
use tracing::warn;

use super::{Fact, Table};
use crate::bus::KvEvent;

/// Follows one event. Of users only those that are `wanted`, by user and revision.
pub fn apply(table: &mut Table, event: &KvEvent, now: Instant, wanted: impl Fn(&str, u64) -> bool) {
    let (key, revision) = match event {
        KvEvent::Reset => return table.reset(),
        KvEvent::Current => return table.current(now),
        KvEvent::Put { key, revision, .. } | KvEvent::Delete { key, revision, .. } => (key, *revision),
    };
    let Some(fact) = Fact::of(key) else {
        warn!(key, "a key that is no presence");
        return;
    };
    if matches!(event, KvEvent::Put { .. }) {
        table.witness(now);
    }
    if fact.presence_of().is_some_and(|user| !wanted(user, revision)) {
        return;
    }
    match event {
        KvEvent::Put { value, time, .. } => {
            if let Err(error) = put(table, &fact, value, now, *time) {
                warn!(%error, key, "an unreadable value in the presence bucket");
            }
        }
        KvEvent::Delete { time, .. } => delete(table, &fact, now, *time),
        KvEvent::Reset | KvEvent::Current => {}
    }
}

fn put(table: &mut Table, fact: &Fact<Cow<'_, str>>, value: &[u8], now: Instant, time: u64) -> Result<(), DecodeError> {
    match fact {
        Fact::User {
            user,
            node,
            incarnation,
        } => table.put_user(user, node, incarnation, value, now)?,
        Fact::Session { user, sid } => table.put_session(user, sid, HttpSession::decode(value)?.since),
        Fact::Lease { node } => table.put_lease(node, &Lease::decode(value)?.incarnation, now, time),
        Fact::Router { node } => table.put_router(node, time),
        Fact::Seen { user } => table.put_seen(user, LastSeen::decode(value)?.time),
    }
    Ok(())
}

fn delete(table: &mut Table, fact: &Fact<Cow<'_, str>>, now: Instant, time: u64) {
    match fact {
        Fact::User {
            user,
            node,
            incarnation,
        } => table.delete_user(user, node, incarnation, time),
        Fact::Session { user, sid } => table.delete_session(user, sid, time),
        Fact::Lease { node } => table.end_lease(node, now, time),
        Fact::Router { node } => table.end_router(node),
        Fact::Seen { user } => table.end_seen(user),
    }
}
