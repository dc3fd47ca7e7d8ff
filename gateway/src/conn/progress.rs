//! What a connection has been given, as far as its next cursor depends on it.
//!
//! Rounds are the hub's sweeps, counted as they begin. A sweep that ends proves that all up to its watermark has been
//! given to those who were complete when it began.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::Conn;
use crate::clock;

/// A client whose targets are quiet still gets a new cursor this often, so that its old one is not trimmed away.
const QUIET_MS: u32 = 3_600_000;

#[derive(Debug)]
pub struct Progress {
    /// The round during which a durable message was last given; 0: none since the last cursor.
    given: AtomicU32,
    /// The round during which a target was last added.
    entered: AtomicU32,
    /// The cursor that it connected with. A node that has not come so far has nothing to tell it.
    from: AtomicU64,
    /// The newest of the log when it connected; the greatest number until then.
    connected: AtomicU64,
    /// Targets whose log is still being read.
    behind: AtomicU32,
    /// When the last cursor was given, in ticks of the clock.
    told: AtomicU32,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            given: AtomicU32::new(0),
            entered: AtomicU32::new(0),
            from: AtomicU64::new(0),
            connected: AtomicU64::new(u64::MAX),
            behind: AtomicU32::new(0),
            told: AtomicU32::new(clock::ticks()),
        }
    }
}

impl Progress {
    pub fn gave(&self, round: u32) {
        if self.given.load(Ordering::Relaxed) != round {
            self.given.store(round, Ordering::Relaxed);
        }
    }

    pub fn entered(&self, round: u32) {
        self.entered.store(round, Ordering::Release);
    }

    pub fn begin(&self, cursor: u64) {
        self.from.store(cursor, Ordering::Release);
    }

    /// All up to here it had, or needs not.
    pub fn from(&self) -> u64 {
        self.from.load(Ordering::Acquire)
    }

    pub fn connected(&self, newest: u64) {
        self.connected.store(newest, Ordering::Release);
    }

    /// The log is another behind `same`. A cursor of what it is now follows with the next sweep: with its old one the
    /// client would hear of the same gap again.
    pub fn begin_again(&self, same: u64, round: u32) {
        self.from.fetch_min(same, Ordering::AcqRel);
        self.connected.fetch_min(same, Ordering::AcqRel);
        self.gave(round);
    }

    /// Whether something that is gone, all before `first`, may be lacking. What the cursor that it connected with covers
    /// is not.
    pub fn may_lack(&self, first: u64) -> bool {
        self.from.load(Ordering::Acquire).saturating_add(1) < first
    }

    /// Whether it was connected before this was stored.
    pub fn was_before(&self, sequence: u64) -> bool {
        self.connected.load(Ordering::Acquire) < sequence
    }

    pub fn fell_behind(&self) {
        self.behind.fetch_add(1, Ordering::AcqRel);
    }

    pub fn caught_up(&self) {
        self.behind.fetch_sub(1, Ordering::AcqRel);
    }

    /// For one of those that are behind: whether it is alone.
    pub fn is_last_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire) == 1
    }

    /// Whether it was, or is being, given something that no cursor has been told of.
    pub fn owes(&self) -> bool {
        self.behind.load(Ordering::Acquire) > 0 || self.given.load(Ordering::Relaxed) != 0
    }

    /// At the end of `round`: whether its watermark is to be told as a cursor now.
    pub fn wants_cursor(&self, round: u32, watermark: u64) -> bool {
        let incomplete = self.behind.load(Ordering::Acquire) > 0 || self.entered.load(Ordering::Acquire) >= round;
        if incomplete || watermark < self.from.load(Ordering::Acquire) {
            return false;
        }
        let given = self.given.load(Ordering::Relaxed);
        let now = clock::ticks();
        if given == 0 && clock::since(self.told.load(Ordering::Relaxed), now) < QUIET_MS {
            return false;
        }
        self.told.store(now, Ordering::Relaxed);
        // What was given since the round began may be beyond its watermark: the next round tells of it.
        if given < round {
            let _newer = self
                .given
                .compare_exchange(given, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        true
    }
}

/// Its connection is told of no cursor while this lives.
pub struct Incomplete(Arc<Conn>);

impl Incomplete {
    pub fn new(conn: &Arc<Conn>) -> Self {
        conn.progress.fell_behind();
        Self(conn.clone())
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        self.0.progress.caught_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_another_brings_a_cursor_and_forgets_the_old_places() {
        let progress = Progress::default();
        progress.begin(90);
        progress.connected(95);
        assert!(progress.may_lack(92) && !progress.may_lack(91));
        assert!(!progress.wants_cursor(2, 99), "nothing was given");
        progress.begin_again(40, 2);
        assert!(progress.was_before(41) && !progress.was_before(40));
        assert!(progress.wants_cursor(3, 40));
        assert!(!progress.wants_cursor(4, 41));
    }

    #[test]
    fn a_cursor_follows_what_was_given_before_the_round_began() {
        let progress = Progress::default();
        assert!(!progress.wants_cursor(1, 9), "nothing was given");
        progress.gave(1);
        assert!(progress.wants_cursor(2, 9));
        assert!(!progress.wants_cursor(3, 9));
        progress.gave(4);
        assert!(progress.wants_cursor(4, 9), "this one may not cover it");
        assert!(progress.wants_cursor(5, 9), "so there is another");
        assert!(!progress.wants_cursor(6, 9));
    }

    #[test]
    fn no_cursor_while_a_target_is_incomplete() {
        let progress = Progress::default();
        progress.gave(1);
        progress.entered(2);
        assert!(!progress.wants_cursor(2, 9));
        progress.fell_behind();
        assert!(!progress.wants_cursor(3, 9));
        progress.caught_up();
        progress.begin(10);
        assert!(!progress.wants_cursor(4, 9), "it had more already");
        assert!(progress.wants_cursor(4, 10));
    }
}
