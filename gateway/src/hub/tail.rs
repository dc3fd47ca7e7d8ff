//! The last messages of a target, kept while a connection catches up from the log.
//!
//! Reading the log and going on with live copies must meet without a hole and without anything twice. What is delivered
//! to others meanwhile is kept here; once the log has been read up to where the tail begins, the tail has the rest.

use std::collections::VecDeque;

use herald_router::bus::LogEntry;

/// Kept at most. One who is further behind reads on.
const MESSAGES: usize = 128;
const BYTES: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Tail {
    /// Everything after this that has been delivered is in `entries`. None: nobody knows.
    from: Option<u64>,
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl Tail {
    /// `position` is the last message that has been delivered so far.
    pub fn new(position: Option<u64>) -> Self {
        Self {
            from: position,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    pub fn push(&mut self, entry: &LogEntry) {
        // Of the very first, nobody knows what was before it.
        self.from.get_or_insert(entry.sequence - 1);
        self.bytes += entry.payload.len();
        self.entries.push_back(entry.clone());
        while self.entries.len() > MESSAGES || self.bytes > BYTES {
            if let Some(gone) = self.entries.pop_front() {
                self.bytes -= gone.payload.len();
                self.from = Some(gone.sequence);
            }
        }
    }

    /// All that was delivered after `at`; None where some of it is no longer here.
    pub fn after(&self, at: u64) -> Option<Vec<LogEntry>> {
        let covered = self.from.is_some_and(|from| from <= at);
        let rest = self.entries.iter().filter(|entry| entry.sequence > at);
        covered.then(|| rest.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(sequence: u64, size: usize) -> LogEntry {
        LogEntry {
            payload: vec![0; size].into(),
            sequence,
            time_ms: 0,
        }
    }

    fn after(tail: &Tail, at: u64) -> Option<Vec<u64>> {
        let rest = tail.after(at)?;
        Some(rest.iter().map(|entry| entry.sequence).collect())
    }

    #[test]
    fn it_has_what_came_since_it_began() {
        let mut tail = Tail::new(Some(10));
        assert_eq!(after(&tail, 10), Some(vec![]));
        assert_eq!(after(&tail, 9), None, "10 was delivered before");
        tail.push(&entry(15, 1));
        tail.push(&entry(20, 1));
        assert_eq!(after(&tail, 10), Some(vec![15, 20]));
        assert_eq!(after(&tail, 15), Some(vec![20]));
        assert_eq!(after(&tail, 30), Some(vec![]));
    }

    #[test]
    fn it_is_bounded_and_says_so() {
        let mut tail = Tail::new(Some(0));
        for sequence in 1..=200 {
            tail.push(&entry(sequence, 1));
        }
        assert_eq!(after(&tail, 71), None);
        assert_eq!(after(&tail, 72).map(|rest| rest.len()), Some(128));
        tail.push(&entry(201, BYTES));
        assert_eq!(after(&tail, 200), Some(vec![201]));
        assert_eq!(after(&tail, 199), None);
    }

    proptest! {
        /// Of what was pushed it gives all after a place or says that it cannot, and can where that is within its bounds.
        #[test]
        fn it_gives_all_or_nothing(
            position in prop::option::of(0u64..20),
            pushed in prop::collection::vec((1u64..4, prop_oneof![Just(1usize), 0..BYTES / 3, 0..2 * BYTES]), 0..200),
        ) {
            let mut tail = Tail::new(position);
            let mut all: Vec<(u64, usize)> = Vec::new();
            let mut sequence = position.unwrap_or(7);
            for (step, size) in pushed {
                sequence += step;
                all.push((sequence, size));
                tail.push(&entry(sequence, size));
                prop_assert!(tail.entries.len() <= MESSAGES && tail.bytes <= BYTES);
            }
            let begun = position.or_else(|| all.first().map(|(first, _)| first - 1));
            for at in 0..sequence + 2 {
                let rest = all.iter().filter(|(sequence, _)| *sequence > at);
                let fits = rest.clone().count() <= MESSAGES && rest.clone().map(|(_, size)| size).sum::<usize>() <= BYTES;
                let known = begun.is_some_and(|begun| begun <= at);
                let expected = (known && fits).then(|| rest.map(|(sequence, _)| *sequence).collect());
                prop_assert_eq!(after(&tail, at), expected, "after {}", at);
            }
        }
    }
}
