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
    /// The newest message that was ever heard of, 0 where there was none.
    newest: u64,
    /// Of all that was stored after this, up to where delivery has come, `newest` is the newest indeed.
    known_from: u64,
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
    /// The newest message that was ever heard of.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// All of the target's messages up to here have been delivered, or came before delivery began. None: it has not begun.
    pub fn position(&self) -> Option<u64> {
        self.last_seen
    }

    /// Whether nothing is known to be newer for one who has all up to `at`.
    pub fn is_current(&self, at: u64) -> bool {
        let known = self.known_from <= at || self.last_seen.is_none_or(|position| position <= at);
        known && self.newest <= at
    }

    /// Whether messages are known of that are still to be delivered.
    pub fn is_behind(&self) -> bool {
        self.last_seen.is_some_and(|position| position < self.newest)
    }

    /// Whether messages up to `at` are known of that are still to be delivered here: who has them already must wait, or
    /// it would be given them again.
    pub fn is_early(&self, at: u64) -> bool {
        self.is_behind() && self.last_seen.is_some_and(|position| position < at)
    }

    /// The log was asked what is newer than `after`: of this target only `newest` and what is before it, up to `upto`.
    /// Delivery begins there, if it has not begun yet. False where the answer is so old that it does not reach what is
    /// known: then it says nothing.
    pub fn told(&mut self, after: u64, newest: Option<u64>, upto: u64) -> bool {
        self.begin(newest.unwrap_or(upto), after);
        if upto < self.known_from {
            return false;
        }
        self.newest = self.newest.max(newest.unwrap_or(0));
        self.known_from = self.known_from.min(after);
        true
    }

    /// There is such a message.
    pub fn heard_of(&mut self, sequence: u64) {
        self.newest = self.newest.max(sequence);
    }

    /// Delivery begins after `at`, if it has not begun yet; nothing is known of what was before `known_from`.
    pub fn begin(&mut self, at: u64, known_from: u64) {
        if self.last_seen.is_none() {
            self.last_seen = Some(at);
            self.known_from = known_from;
        }
    }

    pub fn live(&mut self, sequence: u64, previous: u64) -> Step {
        // A sweep may have passed what is known of, for it waits for nobody before delivery has begun: then it begins behind
        // that. Nobody is live yet; who comes reads the log.
        let at = previous.max(self.newest);
        self.begin(at, at);
        self.newest = self.newest.max(sequence);
        let last_seen = self.last_seen.unwrap_or(at);
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

    /// The log is another behind `same`: of that nothing has been delivered.
    pub fn restart(&mut self, same: u64) {
        *self = Self {
            last_seen: Some(same),
            wanted: None,
            newest: 0,
            known_from: same,
        };
    }

    /// Somebody else knows of a message with this sequence: true where the log must be read for it. Before delivery has
    /// begun nothing can be missing.
    pub fn expect(&mut self, sequence: u64) -> bool {
        self.newest = self.newest.max(sequence);
        let missing = self.last_seen.is_some_and(|seen| seen < sequence);
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
        self.newest = self.newest.max(sequence);
        true
    }

    /// Whether everything up to `sequence` has been delivered, or need not be.
    pub fn is_past(&self, sequence: u64) -> bool {
        self.last_seen.is_none_or(|seen| seen >= sequence)
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

    /// The newest message that a hole is read for; 0 where there is no hole.
    pub fn wanted(&self) -> u64 {
        self.wanted.unwrap_or(0)
    }

    /// Gives up on what the log no longer has, `gone` and what is before it, so that the target goes on with what comes
    /// next.
    pub fn give_up(&mut self, gone: u64) {
        self.last_seen = self.last_seen.max(Some(gone));
        self.is_closed();
    }
}

#[cfg(test)]
mod tests;
