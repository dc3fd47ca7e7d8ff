//! What the clients of one worker write down together.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::plan::{Tick, Totals};
use crate::{
    clock,
    measure::latency::{Recorder, to_text},
};

/// Kinds of errors that are told apart; a server in trouble finds many words.
const KINDS: usize = 16;

#[derive(Default)]
pub struct Board {
    pub open: AtomicU64,
    pub heard: AtomicU64,
    pub bytes: AtomicU64,
    /// From the intended time of sending to receipt.
    pub latency: Recorder,
    /// The same of what was sent while the client was away.
    pub caught_up: Recorder,
    /// From the first attempt until the client is ready.
    pub connect: Recorder,
    totals: Mutex<Totals>,
    /// At the last tick.
    before: Mutex<(u64, u64)>,
}

impl Board {
    pub fn connected(&self, shard: usize, micros: u64) {
        self.connect.record(shard, micros);
        self.totals.lock().connects += 1;
    }

    pub fn gap(&self) {
        self.totals.lock().gaps += 1;
    }

    pub fn closed(&self, why: String) {
        count(&mut self.totals.lock().closes, why);
    }

    pub fn error(&self, what: String) {
        count(&mut self.totals.lock().errors, what);
    }

    pub fn connect_failed(&self, why: String) {
        let mut totals = self.totals.lock();
        totals.failed_connects += 1;
        count(&mut totals.errors, why);
    }

    /// What happened since the last one.
    pub fn tick(&self) -> Tick {
        let text = |recorder: &Recorder| {
            let histogram = recorder.take();
            if histogram.is_empty() {
                String::new()
            } else {
                to_text(&histogram)
            }
        };
        let (heard, bytes) = (self.heard.load(Relaxed), self.bytes.load(Relaxed));
        let before = std::mem::replace(&mut *self.before.lock(), (heard, bytes));
        Tick {
            second: clock::now() / 1_000_000_000,
            open: self.open.load(Relaxed),
            heard: heard - before.0,
            bytes: bytes - before.1,
            latency: text(&self.latency),
            caught_up: text(&self.caught_up),
            connect: text(&self.connect),
            totals: self.totals.lock().clone(),
        }
    }
}

fn count(kinds: &mut BTreeMap<String, u64>, kind: String) {
    let kind = if kinds.len() < KINDS || kinds.contains_key(&kind) {
        kind
    } else {
        "other".to_owned()
    };
    *kinds.entry(kind).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_tells_what_is_new() {
        let board = Board::default();
        board.heard.fetch_add(3, Relaxed);
        board.latency.record(0, 10);
        assert_eq!(board.tick().heard, 3);
        let next = board.tick();
        assert_eq!((next.heard, next.latency.as_str()), (0, ""));
    }

    #[test]
    fn many_kinds_of_errors_do_not_fill_the_memory() {
        let board = Board::default();
        for i in 0..1000 {
            board.error(format!("error {i}"));
        }
        let errors = board.tick().totals.errors;
        assert_eq!(errors.len(), KINDS + 1);
        assert_eq!(errors.values().sum::<u64>(), 1000);
    }
}
