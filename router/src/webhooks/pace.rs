//! How many events go into the next request, and how long to wait before it. Pure.
//!
//! One event that the receiver does not take must not hold up those behind it for ever, nor be lost with those beside it: after
//! a refusal, or some failures in a row, events go one by one, so that it is found and can be parked by itself.

use std::time::{Duration, Instant};

use rand::Rng;

use super::request::Outcome;
use crate::config::WebhookSettings;

/// Failures in a row after which it may be the events and not the receiver.
const SUSPICIOUS: u32 = 5;

#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    retry_min: Duration,
    retry_max: Duration,
    give_up_after: Duration,
    refusals_allowed: u32,
    /// Events of the next request.
    size: usize,
    failures: u32,
    /// Of the event that is alone.
    refusals: u32,
    failing_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// They are delivered: go on behind them.
    GoOn,
    /// Again, after this.
    Again(Duration),
    /// The event is parked, and then one goes on behind it.
    Park,
}

impl Pace {
    pub fn new(settings: &WebhookSettings) -> Self {
        Self {
            most: settings.max_batch,
            retry_min: settings.retry_min,
            retry_max: settings.retry_max,
            give_up_after: settings.give_up_after,
            refusals_allowed: settings.refusals,
            size: settings.max_batch,
            failures: 0,
            refusals: 0,
            failing_since: None,
        }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// What follows from the outcome of a request with `count` events.
    pub fn after(&mut self, outcome: Outcome, count: usize, now: Instant) -> Next {
        if outcome == Outcome::Accepted {
            self.forget();
            self.size = (self.size * 2).min(self.most);
            return Next::GoOn;
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        if outcome == Outcome::Refused && count > 1 {
            // At once: the receiver is there, and which of them it means is not known.
            self.size = 1;
            self.forget();
            return Next::Again(Duration::ZERO);
        }
        if self.failures >= SUSPICIOUS {
            self.size = 1;
        }
        if outcome == Outcome::Refused {
            self.refusals += 1;
        }
        let given_up = self.refusals >= self.refusals_allowed || now.duration_since(since) >= self.give_up_after;
        if given_up && count == 1 {
            self.forget();
            return Next::Park;
        }
        Next::Again(self.pause())
    }

    fn forget(&mut self) {
        self.failures = 0;
        self.refusals = 0;
        self.failing_since = None;
    }

    /// Doubled with each failure, and never the same for all.
    fn pause(&self) -> Duration {
        let doubled = self.retry_min.saturating_mul(1 << (self.failures - 1).min(16));
        let whole = doubled.min(self.retry_max);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let settings = toml::from_str::<WebhookSettings>(
            "name = \"a\"\nurl = \"http://127.0.0.1\"\nsecrets = []\nmax_batch = 8\nretry_min = \"100ms\"\n\
             retry_max = \"1s\"\ngive_up_after = \"1h\"\nrefusals = 3\n",
        );
        Pace::new(&settings.unwrap())
    }

    #[test]
    fn an_outage_parks_nothing_and_pauses_grow() {
        let (mut pace, now) = (pace(), Instant::now());
        let mut longest = Duration::ZERO;
        for n in 0..100 {
            let Next::Again(pause) = pace.after(Outcome::Failed, 1, now + Duration::from_secs(n)) else {
                panic!("an event was given up after {n} s");
            };
            assert!(pause >= Duration::from_millis(50) && pause <= Duration::from_secs(1));
            longest = longest.max(pause);
        }
        assert!(longest > Duration::from_millis(500));
        assert_eq!(pace.after(Outcome::Accepted, 1, now), Next::GoOn);
        assert_eq!(pace.size(), 2);
        let Next::Again(pause) = pace.after(Outcome::Failed, 1, now) else {
            panic!("parked");
        };
        assert!(pause <= Duration::from_millis(100), "it begins anew");
    }

    #[test]
    fn one_that_is_refused_is_found_and_parked_alone() {
        let (mut pace, now) = (pace(), Instant::now());
        assert_eq!(pace.after(Outcome::Refused, 8, now), Next::Again(Duration::ZERO));
        assert_eq!(pace.size(), 1);
        assert!(matches!(pace.after(Outcome::Refused, 1, now), Next::Again(_)));
        assert!(matches!(pace.after(Outcome::Refused, 1, now), Next::Again(_)));
        assert_eq!(pace.after(Outcome::Refused, 1, now), Next::Park);
        assert_eq!(pace.after(Outcome::Accepted, 1, now), Next::GoOn);
        assert_eq!(pace.size(), 2);
    }

    #[test]
    fn one_that_always_fails_is_parked_in_the_end() {
        let (mut pace, now) = (pace(), Instant::now());
        for _ in 0..SUSPICIOUS {
            assert!(matches!(pace.after(Outcome::Failed, 8, now), Next::Again(_)));
        }
        assert_eq!(pace.size(), 1);
        let late = now + Duration::from_secs(3_600);
        assert_eq!(pace.after(Outcome::Failed, 1, late), Next::Park);
    }
}
