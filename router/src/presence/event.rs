//! What the bucket's keys mean.

use std::time::Instant;

use herald_proto::{
    cluster::{LastSeen, Lease, UserOnNode},
    subject,
};
use prost::Message;
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
            Self::Seen { user } => subject::key(&["s", user]),
        }
    }
}

/// Follows one event of the bucket's watch. Of users only those that are `wanted`, by user and revision.
pub fn apply(table: &mut Table, event: &KvEvent, now: Instant, wanted: impl Fn(&str, u64) -> bool) {
    match event {
        KvEvent::Reset => table.reset(),
        KvEvent::Current => table.current(now),
        KvEvent::Put { key, value, revision } => match Fact::of(key) {
            Some(fact) => {
                table.witness(now);
                put(table, fact, value, *revision, now, wanted);
            }
            None => warn!(key, "a key that is no presence"),
        },
        KvEvent::Delete { key, revision } => match Fact::of(key) {
            Some(Fact::User {
                user,
                node,
                incarnation,
            }) if wanted(&user, *revision) => table.delete_user(&user, &node, &incarnation),
            Some(Fact::Lease { node }) => table.end_lease(&node, now),
            Some(Fact::Seen { user }) => table.forget_seen(&user),
            Some(Fact::Router { node }) => table.end_router(&node),
            Some(Fact::User { .. }) => {}
            None => warn!(key, "a key that is no presence"),
        },
    }
}

fn put(table: &mut Table, fact: Fact, value: &[u8], revision: u64, now: Instant, wanted: impl Fn(&str, u64) -> bool) {
    let outcome = match fact {
        Fact::User {
            user,
            node,
            incarnation,
        } if wanted(&user, revision) => {
            UserOnNode::decode(value).map(|value| table.put_user(&user, &node, &incarnation, &value, now))
        }
        Fact::Lease { node } => Lease::decode(value).map(|lease| table.put_lease(&node, &lease.incarnation, now)),
        Fact::Seen { user } => LastSeen::decode(value).map(|seen| table.seen(&user, seen.time)),
        Fact::Router { node } => {
            table.put_router(&node);
            Ok(())
        }
        Fact::User { .. } => Ok(()),
    };
    if let Err(error) = outcome {
        warn!(%error, "an unreadable value in the presence bucket");
    }
}
