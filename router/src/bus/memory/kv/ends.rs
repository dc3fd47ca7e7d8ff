//! When keys run out. Beside the keys, for few have a TTL.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

/// By the revisions under which the keys stand.
#[derive(Default)]
pub(super) struct Ends {
    of: HashMap<u64, Instant>,
    order: BTreeSet<(Instant, u64)>,
}

impl Ends {
    pub(super) fn insert(&mut self, revision: u64, ends: Instant) {
        self.of.insert(revision, ends);
        self.order.insert((ends, revision));
    }

    pub(super) fn remove(&mut self, revision: u64) {
        if let Some(ends) = self.of.remove(&revision) {
            self.order.remove(&(ends, revision));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn has_ended(&self, revision: u64, now: Instant) -> bool {
        self.of.get(&revision).is_some_and(|ends| *ends <= now)
    }

    /// That which ends first.
    pub(super) fn first(&self) -> Option<(Instant, u64)> {
        self.order.first().copied()
    }
}
