//! Writing one user's key so that a write that was given up undoes no later one.
//!
//! What was sent over a connection that is cut off may reach NATS long after the connection was given up, and after what was
//! written over the next one. So each write compares with what stood before it: from the moment on that a later one is
//! stored it fails. After a write of unknown outcome it is looked what stands, and something is written in any case.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use herald_router::bus::{Bucket, Bus, BusError, Version};
use tokio::time::Instant;

use super::User;

/// Between a look and what is written then, a write from before may come.
const TRIES: usize = 3;

/// Writes `value`, or with none makes sure that nothing stands. `known`: what stands; None: that is to be looked up. The revision of
/// what stands now, or of the trace of what stood.
pub(super) async fn write(
    bus: &Bus,
    key: &str,
    value: Option<Bytes>,
    mut known: Option<Version>,
) -> Result<u64, BusError> {
    for _ in 0..TRIES {
        let version = match known.take() {
            Some(version) => version,
            None => bus.kv.look(Bucket::Presence, key).await?.version(),
        };
        match bus.kv.change(Bucket::Presence, key, value.clone(), version).await {
            Err(BusError::Conflict) => {}
            outcome => return outcome,
        }
    }
    Err(BusError::Conflict)
}

/// Two turns together are shorter than the bus keeps traces. Who comes back later is looked up.
const TURN: Duration = Duration::from_secs(30);
/// A turn ends early with so many.
const MOST: usize = 10_000;

/// Who was here a moment ago, with the traces that their keys have left: so that one who comes back need not be looked up.
#[derive(Default)]
pub(super) struct Traces {
    young: HashMap<User, u64>,
    old: HashMap<User, u64>,
    turned: Option<Instant>,
}

impl Traces {
    pub fn left(&mut self, user: User, trace: u64) {
        let now = Instant::now();
        let turned = *self.turned.get_or_insert(now);
        if self.young.len() >= MOST || now.duration_since(turned) >= TURN {
            self.old = std::mem::take(&mut self.young);
            self.turned = Some(now);
        }
        self.young.insert(user, trace);
    }

    /// What stands of one who has no key here, as far as is known.
    pub fn of(&self, user: &User) -> Version {
        let trace = self.young.get(user).or_else(|| self.old.get(user));
        Version::Gone(trace.copied().unwrap_or(0))
    }

    pub fn forget(&mut self, user: &User) {
        self.young.remove(user);
        self.old.remove(user);
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn traces_are_known_for_a_turn_at_least_and_forgotten_after_two() {
        let mut traces = Traces::default();
        let user = |n: usize| User::from(format!("u{n}"));
        traces.left(user(0), 7);
        tokio::time::advance(TURN).await;
        traces.left(user(1), 8);
        assert_eq!(
            (traces.of(&user(0)), traces.of(&user(1))),
            (Version::Gone(7), Version::Gone(8))
        );
        traces.forget(&user(1));
        assert_eq!(traces.of(&user(1)), Version::Gone(0));
        tokio::time::advance(TURN).await;
        traces.left(user(2), 9);
        assert_eq!(
            (traces.of(&user(0)), traces.of(&user(2))),
            (Version::Gone(0), Version::Gone(9))
        );
        for n in 0..2 * MOST {
            traces.left(user(n), 1);
        }
        assert!(traces.young.len() + traces.old.len() <= 2 * MOST);
        traces.clear();
        assert_eq!(traces.of(&user(2)), Version::Gone(0));
    }
}
