//! What the bucket's keys mean.

use std::time::Instant;

use herald_proto::{
    cluster::{HttpSession, LastSeen, Lease, UserOnNode},
    subject,
};
use prost::{DecodeError, Message};
use tracing::warn;

use super::Table;
use crate::bus::KvEvent;

/// What a key tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// `u.<user>.<node>.<incarnation>`
    User {
        user: String,
        node: String,
        incarnation: String,
    },
    /// `n.<node>`: a gateway's lease.
    Lease { node: String },
    /// `r.<node>`: a router's.
    Router { node: String },
    /// `h.<user>.<session>`: over HTTP; it needs no lease.
    Session { user: String, sid: String },
    /// `s.<user>`
    Seen { user: String },
}

impl Fact {
    pub fn of(key: &str) -> Option<Self> {
        let mut parts = subject::split_key(key)?.into_iter();
        let kind = parts.next()?;
        let mut next = || parts.next();
        let fact = match kind.as_str() {
            "u" => Self::User {
                user: next()?,
                node: next()?,
                incarnation: next()?,
            },
            "n" => Self::Lease { node: next()? },
            "r" => Self::Router { node: next()? },
            "h" => Self::Session {
                user: next()?,
                sid: next()?,
            },
            "s" => Self::Seen { user: next()? },
            _ => return None,
        };
        next().is_none().then_some(fact)
    }

    pub fn key(&self) -> String {
        match self {
            Self::User {
                user,
                node,
                incarnation,
            } => subject::key(&["u", user, node, incarnation]),
            Self::Lease { node } => subject::key(&["n", node]),
            Self::Router { node } => subject::key(&["r", node]),
            Self::Session { user, sid } => subject::key(&["h", user, sid]),
            Self::Seen { user } => subject::key(&["s", user]),
        }
    }

    /// By which keys it is decided whether a user is online, as prefixes.
    pub fn prefixes_of(user: &str) -> [String; 2] {
        ["u", "h"].map(|kind| subject::key(&[kind, user]))
    }

    /// Whom it makes online, if anybody by itself.
    pub fn presence_of(&self) -> Option<&str> {
        match self {
            Self::User { user, .. } | Self::Session { user, .. } => Some(user),
            Self::Lease { .. } | Self::Router { .. } | Self::Seen { .. } => None,
        }
    }
}

/// Follows one event of the bucket's watch. Of users only those that are `wanted`, by user and revision.
pub fn apply(table: &mut Table, event: &KvEvent, now: Instant, wanted: impl Fn(&str, u64) -> bool) {
    let (key, revision, value) = match event {
        KvEvent::Reset => return table.reset(),
        KvEvent::Current => return table.current(now),
        KvEvent::Put { key, value, revision } => (key, *revision, Some(value)),
        KvEvent::Delete { key, revision } => (key, *revision, None),
    };
    let Some(fact) = Fact::of(key) else {
        warn!(key, "a key that is no presence");
        return;
    };
    if value.is_some() {
        table.witness(now);
    }
    if fact.presence_of().is_some_and(|user| !wanted(user, revision)) {
        return;
    }
    match value {
        Some(value) => {
            if let Err(error) = put(table, fact, value, now) {
                warn!(%error, "an unreadable value in the presence bucket");
            }
        }
        None => delete(table, fact, now),
    }
}

fn put(table: &mut Table, fact: Fact, value: &[u8], now: Instant) -> Result<(), DecodeError> {
    match fact {
        Fact::User {
            user,
            node,
            incarnation,
        } => table.put_user(&user, &node, &incarnation, &UserOnNode::decode(value)?, now),
        Fact::Session { user, sid } => table.put_session(&user, &sid, HttpSession::decode(value)?.since),
        Fact::Lease { node } => table.put_lease(&node, &Lease::decode(value)?.incarnation, now),
        Fact::Router { node } => table.put_router(&node),
        Fact::Seen { user } => table.seen(&user, LastSeen::decode(value)?.time),
    }
    Ok(())
}

fn delete(table: &mut Table, fact: Fact, now: Instant) {
    match fact {
        Fact::User {
            user,
            node,
            incarnation,
        } => table.delete_user(&user, &node, &incarnation),
        Fact::Session { user, sid } => table.delete_session(&user, &sid),
        Fact::Lease { node } => table.end_lease(&node, now),
        Fact::Router { node } => table.end_router(&node),
        Fact::Seen { user } => table.forget_seen(&user),
    }
}
