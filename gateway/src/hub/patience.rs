//! How one who reads the log waits for what was announced and does not show yet.
//!
//! Pure. A replica may lag for as long as it likes, so waiting never ends by itself: after many reads in vain it is only
//! time to ask whether the log has lost what is waited for.

use std::time::Duration;

/// Between reads, while a replica lags or the log cannot be reached.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A log that is reached but for so many reads does not show what was announced has lost it, by a deletion.
const FRUITLESS_READS: u32 = 30;

#[derive(Debug)]
pub(super) struct Patience {
    pause: Duration,
    fruitless: u32,
}

impl Patience {
    pub fn new() -> Self {
        Self {
            pause: PAUSE,
            fruitless: 0,
        }
    }

    /// A read has brought something new: all begins again.
    pub fn renew(&mut self) {
        *self = Self::new();
    }

    /// A read went well and brought nothing new. True each time it has been so for so long that one should ask whether
    /// there is anything to wait for. A read that failed says nothing about that.
    pub fn in_vain(&mut self) -> bool {
        self.fruitless += 1;
        let long = self.fruitless >= FRUITLESS_READS;
        if long {
            self.fruitless = 0;
        }
        long
    }

    /// How long to wait before the next read: ever longer, up to a limit.
    pub fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_begin_again_with_progress() {
        let mut patience = Patience::new();
        let pauses: Vec<_> = (0..8).map(|_| patience.pause().as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        patience.renew();
        assert_eq!(patience.pause(), PAUSE);
    }

    #[test]
    fn it_ends_after_many_reads_in_vain_and_then_again() {
        let mut patience = Patience::new();
        for _ in 1..FRUITLESS_READS {
            assert!(!patience.in_vain());
        }
        patience.renew();
        for _ in 0..2 {
            for _ in 1..FRUITLESS_READS {
                assert!(!patience.in_vain());
            }
            assert!(patience.in_vain());
        }
    }
}
