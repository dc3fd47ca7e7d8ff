//! The sweep: live copies are hints, some are lost, so every few seconds the log is asked what it has that this node has
//! not delivered. When all of it has been, everything up to the answer's place is complete: the watermark, which is
//! every connection's cursor.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use herald_proto::{LogId, Target, offset::Cursor};
use herald_router::bus::{Bounds, BusError};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use super::Hub;
use crate::{conn::Conn, dialect::Encoded, event::Push};

/// How often all targets are asked about …
const EVERY: Duration = Duration::from_secs(5);
/// … while there are not more than this many; beyond that in proportion, for the log's sake.
const TARGETS: usize = 100_000;
/// A subscription may not be known on every server of a cluster at once: what was missed meanwhile is looked for then.
const SETTLED: Duration = Duration::from_secs(1);
/// After a sweep that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long a sweep waits for the holes that it found to be read.
const REPAIRS: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(5);
/// A watermark that stands still for so long: this node does not keep up, and is not ready.
const STALE: Duration = Duration::from_secs(10);
/// Targets that are looked at again at once; those beyond wait for the next sweep.
const AGAIN: usize = 65_536;

pub(super) struct Rounds {
    /// How many sweeps have begun, and one more, for 0 stands for none.
    started: AtomicU32,
    /// Everything up to here has been delivered to whom it was for.
    watermark: AtomicU64,
    moved: Mutex<Option<Instant>>,
    /// Which log all this is about.
    log: Mutex<Option<LogId>>,
    /// What the log still had at the last sweep.
    bounds: Mutex<Option<Bounds>>,
    /// Targets that were subscribed to of late.
    fresh: Mutex<VecDeque<(Instant, Target)>>,
    now: Notify,
}

impl Rounds {
    pub fn new() -> Self {
        Self {
            started: AtomicU32::new(1),
            watermark: AtomicU64::new(0),
            moved: Mutex::default(),
            log: Mutex::default(),
            bounds: Mutex::default(),
            fresh: Mutex::default(),
            now: Notify::new(),
        }
    }

    /// A subscription was made: what came before every server knew of it is looked for in a moment.
    pub fn look_again(&self, target: Target) {
        let mut fresh = self.fresh.lock();
        if fresh.len() < AGAIN {
            fresh.push_back((Instant::now() + SETTLED, target));
        }
    }

    fn settled(&self) -> Vec<Target> {
        let now = Instant::now();
        let mut fresh = self.fresh.lock();
        let count = fresh.iter().take_while(|(at, _)| *at <= now).count();
        let settled = fresh.drain(..count).map(|(_, target)| target).collect();
        if fresh.is_empty() {
            // Room for a crowd that came together.
            *fresh = VecDeque::new();
        }
        settled
    }

    /// Whether there was another log until now.
    pub fn is_another(&self, log: &LogId) -> bool {
        let before = self.log.lock().replace(log.clone());
        before.is_some_and(|before| before != *log)
    }

    fn begin(&self) -> u32 {
        self.started.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// True where it moved.
    fn advance(&self, upto: u64) -> bool {
        let before = self.watermark.fetch_max(upto, Ordering::AcqRel);
        if upto > before {
            *self.moved.lock() = Some(Instant::now());
        }
        upto > before
    }
}

impl Hub {
    /// The number of the newest sweep that has begun.
    pub(super) fn round(&self) -> u32 {
        self.rounds.started.load(Ordering::Acquire)
    }

    pub(super) fn bounds(&self) -> Option<Bounds> {
        *self.rounds.bounds.lock()
    }

    pub(super) fn watermark(&self) -> u64 {
        self.rounds.watermark.load(Ordering::Acquire)
    }

    /// The log is another behind `same`: what was delivered of the old one says nothing.
    pub(super) fn move_watermark_back(&self, same: u64) {
        self.rounds.watermark.fetch_min(same, Ordering::AcqRel);
        *self.rounds.bounds.lock() = None;
        self.reads.clear();
    }

    /// Whether all that was stored reaches this node's connections.
    pub fn keeps_up(&self) -> bool {
        self.rounds.moved.lock().is_some_and(|at| at.elapsed() < STALE)
    }

    /// Changes when live messages may have been lost.
    pub fn disturbances(&self) -> watch::Receiver<u64> {
        self.bus.log.disturbances()
    }

    pub fn sweep_now(&self) {
        self.rounds.now.notify_one();
    }

    /// Sweeps until dropped.
    pub(super) async fn sweep_forever(self: Arc<Self>) {
        let mut disturbances = self.disturbances();
        let mut id = self.bus.log.id();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.rounds.now.notified() => {}
                Ok(()) = disturbances.changed() => {}
                Ok(()) = id.changed() => {}
                () = sleep(SETTLED / 4) => {
                    self.look_at_fresh().await;
                    continue;
                }
            }
            next = Instant::now()
                + match self.sweep().await {
                    Ok(targets) => EVERY * u32::try_from(targets.div_ceil(TARGETS).max(1)).unwrap_or(u32::MAX),
                    Err(error) => {
                        debug!(%error, "a sweep failed");
                        RETRY
                    }
                };
        }
    }

    async fn look_at_fresh(&self) {
        self.reads.tidy();
        let targets = self.rounds.settled();
        if targets.is_empty() {
            return;
        }
        let positions = targets.iter().filter_map(|target| {
            let topic = self.existing(target)?;
            topic.state.lock().sequencer.position()
        });
        let Some(after) = positions.min() else {
            return; // all of them are gone, or have not begun: then nothing can be missing
        };
        match self.bus.log.newer(&targets, after).await {
            Ok(newer) => self.repair_all(&newer.targets),
            // The next sweep sees it.
            Err(error) => debug!(%error, "new targets could not be looked at"),
        }
    }

    fn repair_all(&self, newer: &[(Target, u64)]) {
        for (target, sequence) in newer {
            self.look_at(target, *sequence);
        }
    }

    /// Somebody says that the log has this message: it is read if it has not come.
    pub fn look_at(&self, target: &Target, sequence: u64) {
        if let Some(topic) = self.existing(target) {
            let begin = topic.state.lock().sequencer.expect(sequence);
            if begin {
                self.metrics.holes.increment(1);
                self.repair(topic);
            }
        }
    }

    /// How many targets there are.
    async fn sweep(&self) -> Result<usize, BusError> {
        let begun = Instant::now();
        let log = self.bus.log.id().borrow().clone();
        let log = log.ok_or_else(|| BusError::Unavailable("the log was never reached".to_owned()))?;
        self.follow_log(&log);
        let round = self.rounds.begin();
        let targets: Vec<Target> = self.topics.iter().map(|topic| topic.key().clone()).collect();
        let newer = self.bus.log.newer(&targets, self.watermark()).await?;
        // Asked after what is newer, so that nothing of that is trimmed unnoticed.
        let bounds = self.bus.log.bounds().await?;
        if self.follow_end(bounds).await? {
            self.sweep_now();
            return Err(BusError::Unavailable("the log has lost its end".to_owned()));
        }
        *self.rounds.bounds.lock() = Some(bounds);
        self.close_lacking(bounds.first);
        self.repair_all(&newer.targets);
        self.repaired(&newer.targets, &log).await?;
        if !self.is_still(&log) {
            return Err(BusError::Unavailable("the log was made anew".to_owned()));
        }
        self.rounds.advance(newer.upto);
        let watermark = self.watermark();
        self.metrics.swept(begun.elapsed(), targets.len(), watermark);
        self.tell_cursors(round, &Cursor::new(log, watermark));
        Ok(targets.len())
    }

    fn is_still(&self, log: &LogId) -> bool {
        self.bus.log.id().borrow().as_ref() == Some(log)
    }

    /// Waits until all of these, or what came after them, has been delivered, or belongs to a log that is gone.
    async fn repaired(&self, newer: &[(Target, u64)], log: &LogId) -> Result<(), BusError> {
        let mut missing: Vec<&(Target, u64)> = newer.iter().collect();
        let all = async {
            loop {
                missing.retain(|(target, sequence)| {
                    let topic = self.existing(target);
                    topic.is_some_and(|topic| !topic.state.lock().sequencer.is_past(*sequence))
                });
                if missing.is_empty() || !self.is_still(log) {
                    return;
                }
                sleep(LOOK).await;
            }
        };
        timeout(REPAIRS, all).await.map_err(|_| BusError::Timeout)
    }

    /// Tells those who were given something of the place up to which all of it was.
    fn tell_cursors(&self, round: u32, cursor: &Cursor) {
        let Some(everybody) = self.existing(&Target::All) else {
            return;
        };
        let connected: Vec<Arc<Conn>> = everybody.state.lock().members().to_vec();
        let push = Push::Cursor(cursor.to_string());
        let mut encoded = Encoded::new(&push);
        for conn in connected {
            let wanted = || conn.progress.wants_cursor(round, cursor.sequence);
            conn.tell_cursor(cursor, round, wanted, || encoded.frame(conn.dialect).clone());
        }
    }
}
