//! What all visitors write down together.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    clock,
    measure::latency::{Recorder, add, empty},
    report::{Brief, Point},
};

pub const KINDS: [&str; 4] = ["login", "message", "refresh", "logout"];

pub struct Log {
    /// Of this second, by kind.
    now: [Recorder; 4],
    requests: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
    past: Mutex<Past>,
}

struct Past {
    seconds: Vec<(u64, u64, Brief)>,
    all: [Histogram<u64>; 4],
}

impl Default for Log {
    fn default() -> Self {
        let past = Past {
            seconds: Vec::new(),
            all: std::array::from_fn(|_| empty()),
        };
        Self {
            now: Default::default(),
            requests: AtomicU64::new(0),
            errors: Mutex::default(),
            past: Mutex::new(past),
        }
    }
}

impl Log {
    /// `kind`: its place in [`KINDS`].
    pub fn answered(&self, kind: usize, since: u64) {
        self.now[kind].record(0, clock::micros_since(since));
        self.requests.fetch_add(1, Relaxed);
    }

    pub fn error(&self, what: String) {
        *self.errors.lock().entry(what).or_default() += 1;
    }

    /// Puts what was recorded since the last time aside.
    pub fn close_second(&self) {
        let mut past = self.past.lock();
        let mut second = empty();
        for (all, now) in past.all.iter_mut().zip(&self.now) {
            let taken = now.take();
            add(all, &taken);
            add(&mut second, &taken);
        }
        let at = |quantile| second.value_at_quantile(quantile);
        let brief = Brief {
            p50: at(0.5),
            p99: at(0.99),
            max: second.max(),
        };
        past.seconds.push((clock::now(), second.len(), brief));
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    pub fn histograms(&self) -> [Histogram<u64>; 4] {
        self.past.lock().all.clone()
    }

    /// Each second: requests answered, and their latencies.
    pub fn series(&self, begun: u64) -> Vec<Point> {
        let past = self.past.lock();
        let points = past.seconds.iter().map(|(at, requests, brief)| Point {
            second: at.saturating_sub(begun) as f64 / 1e9,
            sent: *requests,
            delivered: *requests,
            latency: (*requests > 0).then_some(*brief),
            ..Point::default()
        });
        points.collect()
    }
}

pub async fn tick(log: Arc<Log>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds.tick().await;
    loop {
        seconds.tick().await;
        log.close_second();
    }
}
