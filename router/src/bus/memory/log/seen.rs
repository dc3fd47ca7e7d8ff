//! Which dedup ids were seen of late, and under which sequences.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use hashbrown::HashTable;
use herald_proto::limits::DEDUP_WINDOW;

/// Room for so many is kept, however few there are.
const KEPT: usize = 64;

/// Stands for a dedup id, which may be long. Its key is secret, so nobody can choose ids that meet; and of a hundred
/// million within the window any two meet by chance once in 10²² times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u64; 2]);

/// Bounded by the rate of appends and the window.
pub(super) struct Seen {
    key: RandomState,
    begun: Instant,
    order: VecDeque<Once>,
    /// How many have gone from the front of `order`.
    gone: u64,
    /// Where each is, counted from the first that there ever was.
    places: HashTable<u64>,
}

struct Once {
    digest: Digest,
    sequence: u64,
    /// In milliseconds since all this began.
    at: u64,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            key: RandomState::new(),
            begun: Instant::now(),
            order: VecDeque::new(),
            gone: 0,
            places: HashTable::new(),
        }
    }

    pub(super) fn digest(&self, dedup: &str) -> Digest {
        Digest([0u8, 1].map(|half| self.key.hash_one((half, dedup))))
    }

    /// The sequence under which it was stored.
    pub(super) fn find(&self, digest: Digest) -> Option<u64> {
        let at = |place: &u64| &self.order[index(*place, self.gone)];
        let found = self.places.find(digest.0[0], |place| at(place).digest == digest)?;
        Some(at(found).sequence)
    }

    /// It must not be known.
    pub(super) fn insert(&mut self, now: Instant, digest: Digest, sequence: u64) {
        let place = self.gone + self.order.len() as u64;
        self.order.push_back(Once {
            digest,
            sequence,
            at: self.at(now),
        });
        let (order, gone) = (&self.order, self.gone);
        let hash = |place: &u64| order[index(*place, gone)].digest.0[0];
        self.places.insert_unique(digest.0[0], place, hash);
    }

    /// Those that are older than the window.
    pub(super) fn forget(&mut self, now: Instant) {
        let now = self.at(now);
        while let Some(once) = self.order.front()
            && u128::from(now.saturating_sub(once.at)) > DEDUP_WINDOW.as_millis()
        {
            let first = self.gone;
            if let Ok(found) = self.places.find_entry(once.digest.0[0], |place| *place == first) {
                found.remove();
            }
            self.order.pop_front();
            self.gone += 1;
        }
        // What was large once must not stay so in memory.
        let (count, room) = (self.order.len(), self.order.capacity());
        if room > KEPT && count < room / 4 {
            let (order, gone) = (&mut self.order, self.gone);
            order.shrink_to(count * 2);
            self.places
                .shrink_to(count * 2, |place| order[index(*place, gone)].digest.0[0]);
        }
    }

    fn at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Places are those of `order`, which is in memory: they lie as near to each other.
fn index(place: u64, gone: u64) -> usize {
    usize::try_from(place - gone).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_seen_is_found_until_the_window_has_passed() {
        let mut seen = Seen::new();
        let begun = Instant::now();
        let at = |second: u64| begun + Duration::from_secs(second);
        let window = DEDUP_WINDOW.as_secs();
        for round in 0..3 {
            for second in 0..window * 2 {
                let now = round * window * 4 + second;
                seen.forget(at(now));
                let digest = seen.digest(&now.to_string());
                assert_eq!(seen.find(digest), None);
                seen.insert(at(now), digest, now + 7);
                for (age, known) in [(0, true), (1, true), (window, true), (window + 1, false)] {
                    if second >= age {
                        let other = seen.digest(&(now - age).to_string());
                        assert_eq!(seen.find(other), known.then(|| now - age + 7), "{now} {age}");
                    }
                }
            }
        }
        assert_eq!(seen.order.len(), seen.places.len());
    }

    #[test]
    fn room_for_many_is_given_back() {
        let mut seen = Seen::new();
        let now = Instant::now();
        for sequence in 0..10_000 {
            let digest = seen.digest(&sequence.to_string());
            seen.insert(now, digest, sequence);
        }
        seen.forget(now + DEDUP_WINDOW * 2);
        assert_eq!(seen.places.len(), 0);
        assert!(seen.order.capacity() <= KEPT && seen.places.capacity() <= KEPT);
    }
}
