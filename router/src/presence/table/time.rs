//! What follows from the time, and from the bucket being told anew.

use std::time::{Duration, Instant};

use herald_proto::{id, limits};

use super::{
    super::{POSTPONED, SILENCE},
    Change, Router, Table,
    node::Lease,
};

/// When leases are taken at their word.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// When something was last heard that proves that nodes can refresh their leases.
    heard: Option<Instant>,
    /// Until then a lease's end is not taken at its word.
    disturbed: Option<Instant>,
    /// What was not told again by then is gone.
    settle: Option<Instant>,
    /// The bucket has been told whole once.
    begun: bool,
    /// It is being told anew: leases may have ended while nobody could refresh them.
    again: bool,
}

impl Clock {
    /// The bucket has not been told whole yet.
    pub fn begins(&self) -> bool {
        !self.begun
    }

    fn was_silent(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.duration_since(heard) > SILENCE)
    }

    pub fn is_disturbed(&self, now: Instant) -> bool {
        self.again || self.was_silent(now) || self.disturbed.is_some_and(|until| now < until)
    }
}

impl Table {
    /// Somebody has written to the bucket.
    pub fn witness(&mut self, now: Instant) {
        if self.clock.was_silent(now) {
            self.clock.disturbed = Some(now + POSTPONED);
        }
        self.clock.heard = Some(now);
    }

    /// The bucket is told anew. What stood before stands until its owners have had the time to put it back.
    pub fn reset(&mut self) {
        self.clock.settle = None;
        self.clock.heard = None;
        self.clock.again = self.clock.begun;
        for node in self.nodes.values_mut() {
            node.told = false;
        }
        for Router { told, .. } in self.routers.values_mut() {
            *told = false;
        }
        for user in self.users.values_mut() {
            user.untell();
        }
    }

    /// All that stood has been told.
    pub fn current(&mut self, now: Instant) {
        let again = std::mem::replace(&mut self.clock.begun, true);
        self.clock.again = false;
        self.clock.heard = Some(now);
        // NATS may have come back only just now, and leases that stood before may end before they can be refreshed.
        let (settle, disturbed) = match again {
            true => (limits::LEASE, limits::LEASE),
            false => (Duration::ZERO, POSTPONED),
        };
        self.clock.settle = Some(now + settle);
        self.clock.disturbed = Some(now + disturbed);
        if !again {
            self.note_absent();
        }
        self.tick(now);
    }

    /// What follows from the time alone.
    pub fn tick(&mut self, now: Instant) {
        if self.clock.settle.is_some_and(|at| at <= now) {
            self.clock.settle = None;
            self.drop_untold(now);
        }
        let ended = self.nodes.iter().filter_map(|(id, node)| match node.lease {
            Lease::Ends(_, until) if until <= now => Some(id.clone()),
            _ => None,
        });
        for node in ended.collect::<Vec<_>>() {
            self.set_lease(&node, Lease::None, now);
        }
    }

    /// Whose node had died before this table was made was there until its last sign of life.
    fn note_absent(&mut self) {
        if !self.seen.is_kept() {
            return;
        }
        for node in self.nodes.values().filter(|node| node.lease == Lease::None) {
            for user in &node.users {
                let Some(entry) = self.users.get(user).filter(|entry| !entry.online) else {
                    continue;
                };
                self.seen.note(user, entry.newest().max(node.alive));
                self.changes.push(Change {
                    user: user.clone(),
                    online: false,
                });
            }
        }
    }

    fn drop_untold(&mut self, now: Instant) {
        self.routers.retain(|_, router| router.told);
        let time = id::now_ms();
        let untold = self.users.iter().filter(|(_, user)| user.is_untold());
        for user in untold.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.drop_keys(&user, time, |key| !key.told);
            self.drop_sessions(&user, time, |session| !session.told);
        }
        let nodes = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.told && node.lease != Lease::None);
        for node in nodes.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.set_lease(&node, Lease::None, now);
        }
    }
}
