//! What a table knows of a node: its lease, and whose keys it has written.

use std::time::{Duration, Instant};

use hashbrown::HashSet;

use super::Id;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub lease: Lease,
    /// When it gave its last sign of life, in Unix milliseconds; 0: not known.
    pub alive: u64,
    /// Told since the bucket was last told anew.
    pub told: bool,
    /// The users with a key of whatever incarnation of this node.
    pub users: HashSet<Id>,
    /// Incarnations that may have keys and have no lease, since when: hardly ever more than one.
    lapsed: Vec<(Id, Instant)>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Lease {
    #[default]
    None,
    Stands(Id),
    /// Ended, and not believed before this.
    Ends(Id, Instant),
}

impl Lease {
    pub fn incarnation(&self) -> Option<&Id> {
        match self {
            Lease::None => None,
            Lease::Stands(incarnation) | Lease::Ends(incarnation, _) => Some(incarnation),
        }
    }

    pub fn counts(&self, incarnation: &str) -> bool {
        self.incarnation().is_some_and(|standing| **standing == *incarnation)
    }
}

impl Node {
    /// One allocation for an incarnation's name, however many keys hold it.
    pub fn name_of(&self, incarnation: &str) -> Id {
        let standing = self.lease.incarnation().filter(|name| ***name == *incarnation);
        let lapsed = || {
            self.lapsed
                .iter()
                .map(|(name, _)| name)
                .find(|name| ***name == *incarnation)
        };
        standing.or_else(lapsed).cloned().unwrap_or_else(|| incarnation.into())
    }

    /// The incarnation has been without a lease since `now`, or for longer.
    pub fn lapses(&mut self, incarnation: &Id, now: Instant) {
        if !self.lapsed.iter().any(|(name, _)| name == incarnation) {
            self.lapsed.push((incarnation.clone(), now));
        }
    }

    pub fn forget_lapsed(&mut self, incarnation: &str) {
        self.lapsed.retain(|(name, _)| **name != *incarnation);
    }

    /// That which wrote last, as far as keys tell.
    pub fn take_newest_lapsed(&mut self) -> Option<Id> {
        self.lapsed.pop().map(|(name, _)| name)
    }

    pub fn lapsed_for(&self, long: Duration, now: Instant) -> impl Iterator<Item = &Id> {
        let lapsed = self.lapsed.iter();
        lapsed.filter_map(move |(name, since)| (now.duration_since(*since) >= long).then_some(name))
    }

    pub fn is_empty(&self) -> bool {
        self.lease == Lease::None && self.users.is_empty()
    }
}
