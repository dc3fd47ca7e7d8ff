//! What is counted of presence: of this node's users, and of those that are watched here.

use std::time::Instant;

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;

use super::names::{LEASE_AGE, PRESENCE_PUSHES, PRESENCE_WRITES, WATCHES};

pub struct PresenceCounters {
    pub keys: Counter,
    pub leases: Counter,
    pub pushes: Counter,
    watches: Gauge,
    age: Gauge,
    leased: Mutex<Option<Instant>>,
}

impl Default for PresenceCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl PresenceCounters {
    /// The recorder must be installed before.
    pub fn new() -> Self {
        Self {
            keys: counter!(PRESENCE_WRITES, "kind" => "key"),
            leases: counter!(PRESENCE_WRITES, "kind" => "lease"),
            pushes: counter!(PRESENCE_PUSHES),
            watches: gauge!(WATCHES),
            age: gauge!(LEASE_AGE),
            leased: Mutex::new(None),
        }
    }

    /// The lease has just been refreshed.
    pub fn leased(&self) {
        *self.leased.lock() = Some(Instant::now());
        self.age();
    }

    pub fn age(&self) {
        if let Some(at) = *self.leased.lock() {
            self.age.set(at.elapsed().as_secs_f64());
        }
    }

    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    pub fn watching(&self, count: usize) {
        self.watches.set(count as f64);
    }
}
