//! How often something may happen: the generic cell rate algorithm, sixteen bytes of state.

use std::time::{Duration, Instant};

/// None in `every` is no limit.
#[derive(Debug, Clone)]
pub struct Rate {
    every: Option<Duration>,
    /// How far ahead of the steady rate one may be.
    ahead: Duration,
    /// When the next one would be due at the steady rate.
    due: Option<Instant>,
}

impl Rate {
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self::every(Duration::from_secs(1) / per_second.max(1), burst)
    }

    pub fn every(every: Duration, burst: u32) -> Self {
        Self {
            every: Some(every),
            ahead: every * burst.max(1),
            due: None,
        }
    }

    pub fn unlimited() -> Self {
        Self {
            every: None,
            ahead: Duration::ZERO,
            due: None,
        }
    }

    pub fn is_unlimited(&self) -> bool {
        self.every.is_none()
    }

    /// Err says how long to wait.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(every) = self.every else {
            return Ok(());
        };
        let due = self.due.map_or(now, |due| due.max(now)) + every;
        let ahead = due - now;
        if ahead > self.ahead {
            return Err(ahead - self.ahead);
        }
        self.due = Some(due);
        Ok(())
    }

    /// Nothing that happened counts any more.
    pub fn forgive(&mut self) {
        self.due = None;
    }

    /// Whether nothing that happened is remembered any more.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgiven_can_be_taken_again() {
        let mut rate = Rate::every(Duration::from_secs(60), 2);
        let start = Instant::now();
        assert!(rate.take(start).is_ok() && rate.take(start).is_ok());
        assert_eq!(rate.take(start), Err(Duration::from_secs(60)));
        rate.forgive();
        assert!(rate.take(start).is_ok());
    }

    #[test]
    fn a_burst_and_then_the_steady_rate() {
        let mut rate = Rate::new(100, 200);
        let start = Instant::now();
        assert_eq!((0..1000).filter(|_| rate.take(start).is_ok()).count(), 200);
        assert_eq!(rate.take(start), Err(Duration::from_millis(10)));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| rate.take(later).is_ok()).count(), 100);
        assert!(rate.is_fresh(later + Duration::from_secs(3)));
    }
}
