//! How often something may happen: the generic cell rate algorithm. A [`Rate`] is shared by all whom it holds for; each of
//! them has a [`Bucket`], eight bytes.

use std::time::{Duration, Instant};

use crate::clock;

const SECOND: u64 = 1_000_000_000;

/// So many in so much time, and how far ahead of that one may be. Without any of it: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Option<Steady>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steady {
    count: u64,
    nanos: u64,
    /// In time at the steady rate.
    ahead: u64,
}

/// What one has taken: when its next would be due at the steady rate. A rate that changes needs no other bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket(u64);

impl Rate {
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self::of(per_second, SECOND, burst)
    }

    pub fn every(every: Duration, burst: u32) -> Self {
        Self::of(1, nanos(every), u64::from(burst))
    }

    fn of(count: u64, nanos: u64, burst: u64) -> Self {
        let mut steady = Steady {
            count: count.max(1),
            nanos,
            ahead: 0,
        };
        steady.ahead = steady.cost(burst.max(1));
        Self(Some(steady))
    }

    pub const fn unlimited() -> Self {
        Self(None)
    }

    pub fn is_unlimited(&self) -> bool {
        self.0.is_none()
    }

    /// How much time `count` take at the steady rate.
    pub fn cost(&self, count: u64) -> Duration {
        self.0
            .map_or(Duration::ZERO, |steady| Duration::from_nanos(steady.cost(count)))
    }

    /// How long it is until `count` may be taken; zero: at once.
    pub fn wait(&self, bucket: Bucket, count: u64, now: Instant) -> Duration {
        self.0.map_or(Duration::ZERO, |steady| {
            Duration::from_nanos(bucket.beyond(steady.cost(count), steady.ahead, now))
        })
    }

    /// Whether there is room or not.
    pub fn charge(&self, bucket: &mut Bucket, count: u64, now: Instant) {
        if let Some(steady) = self.0 {
            bucket.charge(steady.cost(count), now);
        }
    }

    /// Err says how long to wait; then nothing is taken.
    pub fn take(&self, bucket: &mut Bucket, count: u64, now: Instant) -> Result<(), Duration> {
        match self.wait(*bucket, count, now) {
            Duration::ZERO => {
                self.charge(bucket, count, now);
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

impl Steady {
    fn cost(&self, count: u64) -> u64 {
        let cost = u128::from(count) * u128::from(self.nanos) / u128::from(self.count);
        u64::try_from(cost).unwrap_or(u64::MAX)
    }
}

impl Bucket {
    /// Takes time itself, while no more than `most` of it is ahead.
    pub fn take_time(&mut self, cost: Duration, most: Duration, now: Instant) -> bool {
        let fits = self.beyond(nanos(cost), nanos(most), now) == 0;
        if fits {
            self.charge(nanos(cost), now);
        }
        fits
    }

    fn due(self, cost: u64, now: u64) -> u64 {
        self.0.max(now).saturating_add(cost)
    }

    fn beyond(self, cost: u64, ahead: u64, now: Instant) -> u64 {
        let now = clock::nanos(now);
        self.due(cost, now).saturating_sub(now).saturating_sub(ahead)
    }

    fn charge(&mut self, cost: u64, now: Instant) {
        self.0 = self.due(cost, clock::nanos(now));
    }

    /// Nothing that happened counts any more.
    pub fn forgive(&mut self) {
        self.0 = 0;
    }

    /// Whether nothing that happened is remembered any more.
    pub fn is_fresh(self, now: Instant) -> bool {
        self.0 <= clock::nanos(now)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgiven_can_be_taken_again() {
        let rate = Rate::every(Duration::from_secs(60), 2);
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!(rate.take(&mut bucket, 1, start).is_ok() && rate.take(&mut bucket, 1, start).is_ok());
        assert_eq!(rate.take(&mut bucket, 1, start), Err(Duration::from_secs(60)));
        bucket.forgive();
        assert!(rate.take(&mut bucket, 1, start).is_ok());
    }

    #[test]
    fn a_burst_and_then_the_steady_rate() {
        let rate = Rate::new(100, 200);
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let taken = |bucket: &mut Bucket, now| (0..1000).filter(|_| rate.take(bucket, 1, now).is_ok()).count();
        assert_eq!(taken(&mut bucket, start), 200);
        assert_eq!(rate.take(&mut bucket, 1, start), Err(Duration::from_millis(10)));
        let later = start + Duration::from_secs(1);
        assert_eq!(taken(&mut bucket, later), 100);
        assert!(bucket.is_fresh(later + Duration::from_secs(3)));
    }

    #[test]
    fn bytes_are_counted_to_the_byte() {
        let rate = Rate::new(1_000_000, 10);
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!(rate.take(&mut bucket, 11, start).is_err());
        assert!(rate.take(&mut bucket, 10, start).is_ok());
        assert_eq!(rate.take(&mut bucket, 3, start), Err(Duration::from_micros(3)));
        assert!(rate.take(&mut bucket, 3, start + Duration::from_micros(3)).is_ok());
        assert!(Rate::unlimited().take(&mut bucket, u64::MAX, start).is_ok());
    }
}
