//! The order of one target's stored messages: each once, ascending, none skipped that the log still has.
//!
//! Pure. Live copies are hints that may be missing, so each names the message before it: where that one has not been
//! seen, nothing more is delivered until the log has been read. Copies that come meanwhile are not kept, for the log
//! has them too; it is read until the newest of them has been seen.

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sequencer {
    /// The last message delivered, or from which on delivery began. None: whatever comes first is the beginning.
    last_seen: Option<u64>,
    /// While a hole is being read: the newest message known of.
    wanted: Option<u64>,
}

/// What to do with a live copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Deliver,
    Duplicate,
    /// A hole is before it; `begin` tells the first to notice that the log must be read.
    Hold {
        begin: bool,
    },
}

impl Sequencer {
    pub fn live(&mut self, sequence: u64, previous: u64) -> Step {
        let last_seen = self.last_seen.unwrap_or(previous);
        if sequence <= last_seen {
            return Step::Duplicate;
        }
        if let Some(wanted) = &mut self.wanted {
            *wanted = sequence.max(*wanted);
            return Step::Hold { begin: false };
        }
        if previous > last_seen {
            self.last_seen = Some(last_seen);
            self.wanted = Some(sequence);
            return Step::Hold { begin: true };
        }
        self.last_seen = Some(sequence);
        Step::Deliver
    }

    /// The log was made anew and counts from 1 again: nothing of it has been delivered.
    pub fn restart(&mut self) {
        *self = Self {
            last_seen: Some(0),
            wanted: None,
        };
    }

    /// Somebody else knows of a message with this sequence: true where the log must be read for it.
    pub fn expect(&mut self, sequence: u64) -> bool {
        let missing = self.last_seen.is_none_or(|seen| seen < sequence);
        let begin = missing && self.wanted.is_none();
        if missing {
            self.wanted = self.wanted.max(Some(sequence));
        }
        begin
    }

    /// After which message the log is to be read; None where there is no hole.
    pub fn read_after(&self) -> Option<u64> {
        self.wanted?;
        Some(self.last_seen.unwrap_or(0))
    }

    /// Whether a message read from the log is to be delivered now.
    pub fn read(&mut self, sequence: u64) -> bool {
        if self.last_seen.is_some_and(|seen| sequence <= seen) {
            return false;
        }
        self.last_seen = Some(sequence);
        true
    }

    /// After a read: true where the hole is closed. A replica that lags has not yet shown what is wanted.
    pub fn is_closed(&mut self) -> bool {
        if self
            .wanted
            .is_some_and(|wanted| self.last_seen.is_some_and(|seen| seen >= wanted))
        {
            self.wanted = None;
        }
        self.wanted.is_none()
    }

    /// Gives up on what the log no longer has, so that the target goes on with what comes next.
    pub fn give_up(&mut self) {
        if let Some(wanted) = self.wanted.take() {
            self.last_seen = self.last_seen.max(Some(wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_copy_is_the_beginning() {
        let mut s = Sequencer::default();
        assert_eq!(s.live(10, 7), Step::Deliver);
        assert_eq!(s.live(10, 7), Step::Duplicate);
        assert_eq!(s.live(12, 10), Step::Deliver);
        assert_eq!(s.live(15, 14), Step::Hold { begin: true });
        assert_eq!(s.live(16, 15), Step::Hold { begin: false });
        assert_eq!(s.read_after(), Some(12));
        assert!(s.read(14) && s.read(15));
        assert!(!s.is_closed(), "16 is known of");
        assert!(s.read(16) && s.is_closed());
        assert_eq!(s.live(17, 16), Step::Deliver);
    }

    #[test]
    fn trimming_is_no_hole() {
        let mut s = Sequencer::default();
        assert_eq!(s.live(10, 0), Step::Deliver);
        assert_eq!(s.live(20, 0), Step::Deliver, "the log forgot all before it");
        assert_eq!(s.live(30, 10), Step::Deliver, "an older one was the last before it");
    }

    #[test]
    fn a_new_log_is_read_from_its_beginning() {
        let mut s = Sequencer::default();
        assert_eq!(s.live(1000, 999), Step::Deliver);
        s.restart();
        assert_eq!(s.live(3, 2), Step::Hold { begin: true });
        assert_eq!(s.read_after(), Some(0));
        assert!(s.read(1) && s.read(2) && s.read(3) && s.is_closed());
        s.restart();
        assert!(s.expect(2) && !s.expect(2));
        assert!(s.read(1) && s.read(2) && s.is_closed() && !s.expect(2));
    }

    proptest! {
        /// Whatever copies are lost, doubled or late: what is delivered ascends, and once a copy of the last message
        /// has come and the holes are read, nothing after the first is missing.
        #[test]
        fn nothing_is_skipped(count in 2u64..40, seed in prop::collection::vec((0u64..40, any::<bool>()), 0..120)) {
            // The target's messages have every third sequence of the log.
            let log: Vec<u64> = (1..=count).map(|i| i * 3).collect();
            let previous = |s: u64| s.saturating_sub(3);
            let mut s = Sequencer::default();
            let mut out = Vec::new();
            let mut copies: Vec<(u64, bool)> = seed.iter().map(|&(i, lag)| (log[usize::try_from(i % count).unwrap()], lag)).collect();
            copies.insert(0, (log[0], false));
            copies.push((log[log.len() - 1], false));
            for (sequence, lagging) in copies {
                match s.live(sequence, previous(sequence)) {
                    Step::Deliver => out.push(sequence),
                    Step::Duplicate => {}
                    Step::Hold { .. } => {
                        let after = s.read_after().unwrap();
                        let upto = if lagging { sequence.saturating_sub(3) } else { u64::MAX };
                        for &entry in log.iter().filter(|e| **e > after && **e <= upto) {
                            if s.read(entry) { out.push(entry) }
                        }
                        s.is_closed();
                    }
                }
            }
            prop_assert!(out.windows(2).all(|w| w[0] < w[1]), "{:?}", out);
            prop_assert_eq!(out, log);
        }
    }
}
