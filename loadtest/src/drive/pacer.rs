//! The schedule. Messages are due at their times whatever the server does, and latency counts from there: a server that
//! stands still for a second has all that was due in that second against it (no coordinated omission).
//!
//! A thread of its own sleeps until a message is due: the runtime's timer has a grain of a millisecond, which is more than
//! many a delivery takes.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::plan::stream;
use crate::{
    clock,
    stamp::{Stamp, Stream},
    target::To,
};

/// How soon a schedule that waits notices that it is stopped.
const LOOK: Duration = Duration::from_millis(50);

/// A message that is due some time after the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    pub after: Duration,
    pub to: To,
}

/// One message for a sender.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub to: To,
    pub stamp: Stamp,
}

/// `rate` messages a second for `duration`, in bursts of `burst` that are due together.
pub fn steady(rate: f64, burst: u64, duration: Duration, mut pick: impl FnMut(u64) -> To) -> impl Iterator<Item = Due> {
    let burst = burst.max(1);
    let total = (rate * duration.as_secs_f64()).round() as u64;
    (0..total).map(move |turn| {
        let first = turn - turn % burst;
        Due {
            after: Duration::from_secs_f64(first as f64 / rate),
            to: pick(turn),
        }
    })
}

/// What was handed out, in all schedules of a run.
#[derive(Default)]
pub struct Handed {
    pub messages: AtomicU64,
    /// Of each stream; its numbers go on here.
    pub streams: Mutex<BTreeMap<Stream, u64>>,
    /// Nothing more is to be handed out.
    pub stopped: AtomicBool,
}

impl Handed {
    fn stamp(&self, run: u32, stream: Stream, due: u64) -> Stamp {
        let mut streams = self.streams.lock();
        let next = streams.entry(stream).or_default();
        let number = *next;
        *next += 1;
        Stamp {
            run,
            stream,
            number,
            due,
        }
    }

    /// False: it was stopped meanwhile.
    fn wait_until(&self, due: u64) -> bool {
        while !self.stopped.load(Relaxed) {
            let now = clock::now();
            if now >= due {
                return true;
            }
            thread::sleep(Duration::from_nanos(due - now).min(LOOK));
        }
        false
    }
}

/// Hands the messages to the senders when they are due, each target's always to the same.
pub fn run(run: u32, schedule: impl Iterator<Item = Due>, senders: &[mpsc::Sender<Job>], handed: &Handed) {
    let start = clock::now() + 5_000_000;
    for Due { after, to } in schedule {
        let due = start + u64::try_from(after.as_nanos()).unwrap_or(u64::MAX / 2);
        if !handed.wait_until(due) {
            return;
        }
        let stamp = handed.stamp(run, stream(to), due);
        if senders[sender_of(to, senders.len())]
            .blocking_send(Job { to, stamp })
            .is_err()
        {
            // It has told why.
            return;
        }
        handed.messages.fetch_add(1, Relaxed);
    }
}

/// Whose connection carries a target's messages.
pub fn sender_of(to: To, senders: usize) -> usize {
    match to {
        To::All => 0,
        To::Group(number) => number as usize % senders,
        To::User(number) => number % senders,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_due_together_and_keep_the_rate() {
        let dues: Vec<Due> = steady(100.0, 10, Duration::from_secs(1), |_| To::All).collect();
        assert_eq!(dues.len(), 100);
        assert_eq!(dues[9].after, Duration::ZERO);
        assert_eq!(dues[10].after, Duration::from_millis(100));
        assert_eq!(dues[99].after, Duration::from_millis(900));
    }

    #[test]
    fn each_stream_is_numbered_by_itself_and_has_one_sender() {
        let (first, mut ones) = mpsc::channel(10);
        let (second, mut twos) = mpsc::channel(10);
        let targets = [To::Group(1), To::Group(0), To::Group(1)];
        let schedule = targets.into_iter().map(|to| Due {
            after: Duration::ZERO,
            to,
        });
        let handed = Handed::default();
        handed.streams.lock().insert(stream(To::Group(1)), 5);
        run(9, schedule, &[first, second], &handed);
        assert_eq!(
            *handed.streams.lock(),
            BTreeMap::from([(stream(To::Group(0)), 1), (stream(To::Group(1)), 7)])
        );
        assert_eq!(ones.try_recv().expect("a message").stamp.number, 0);
        assert_eq!(twos.try_recv().expect("a message").stamp.number, 5);
        assert_eq!(twos.try_recv().expect("a message").stamp.number, 6);
    }

    #[test]
    fn a_schedule_that_is_stopped_hands_nothing_out_any_more() {
        let (queue, _jobs) = mpsc::channel(10);
        let handed = Handed::default();
        let far = Due {
            after: Duration::from_secs(3600),
            to: To::All,
        };
        thread::scope(|scope| {
            scope.spawn(|| run(9, [far].into_iter(), &[queue], &handed));
            handed.stopped.store(true, Relaxed);
        });
        assert!(handed.streams.lock().is_empty());
    }
}
