//! A log that misbehaves as real ones do, by a seed: the double on which sweep and resume are tested.
//!
//! Live copies are dropped, doubled, delayed and thereby reordered; reads and questions see an older state, or fail;
//! appends fail after they were stored, or before, or hang. What is stored is never touched.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use herald_proto::{LogId, Target};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use super::{
    Appended, Beats, Bounds, BusError, LiveCopy, LiveSink, LiveSubscription, Log, LogEntry, Newer, Page, Result,
};

/// How often, in parts of a hundred.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    pub drop: u32,
    pub double: u32,
    pub delay: u32,
    /// Reads and questions that see what was some messages ago.
    pub lag: u32,
    /// Reads and questions that fail.
    pub fail: u32,
    /// Appends that are stored, and fail.
    pub unacked: u32,
    /// Appends that fail, and are not stored.
    pub refused: u32,
    /// Appends that never come to an end, and are not stored.
    pub hang: u32,
}

/// How far behind a lagging replica may be.
const LAG: u64 = 12;
const LONGEST_DELAY_MS: u64 = 3_000;

pub struct FaultyLog {
    log: Arc<dyn Log>,
    dice: Arc<Dice>,
    /// All that was ever stored, for what lagging replicas still have.
    stored: Mutex<HashMap<Target, Vec<LogEntry>>>,
}

struct Dice {
    rng: Mutex<StdRng>,
    rates: Mutex<Rates>,
}

impl Dice {
    fn hits(&self, rate: impl Fn(&Rates) -> u32) -> bool {
        let rate = rate(&self.rates.lock());
        self.rng.lock().random_ratio(rate.min(100), 100)
    }

    fn below(&self, bound: u64) -> u64 {
        self.rng.lock().random_range(0..bound)
    }
}

impl FaultyLog {
    pub fn new(log: Arc<dyn Log>, seed: u64, rates: Rates) -> Self {
        Self {
            log,
            dice: Arc::new(Dice {
                rng: Mutex::new(StdRng::seed_from_u64(seed)),
                rates: Mutex::new(rates),
            }),
            stored: Mutex::default(),
        }
    }

    pub fn set_rates(&self, rates: Rates) {
        *self.dice.rates.lock() = rates;
    }

    fn may_fail(&self) -> Result<()> {
        if self.dice.hits(|rates| rates.fail) {
            return Err(BusError::Timeout);
        }
        Ok(())
    }

    async fn remember(&self, target: &Target, sequence: u64) -> Result<()> {
        if let Some(entry) = self.log.get(sequence).await? {
            let mut stored = self.stored.lock();
            let of_target = stored.entry(target.clone()).or_default();
            if of_target.last().is_none_or(|last| last.sequence < sequence) {
                of_target.push(entry);
            }
        }
        Ok(())
    }

    /// What a replica that had come to `seen` had of a target: what it had not stored yet had trimmed nothing.
    async fn as_of(&self, target: &Target, seen: u64) -> Result<Vec<LogEntry>> {
        let bounds = self.log.bounds().await?;
        let stored = self.stored.lock();
        let stood = stored.get(target).into_iter().flatten();
        let mut stood: Vec<LogEntry> = stood
            .filter(|entry| (bounds.first..=seen).contains(&entry.sequence))
            .cloned()
            .collect();
        let kept = usize::try_from(bounds.per_target).unwrap_or(usize::MAX);
        stood.drain(..stood.len().saturating_sub(kept));
        Ok(stood)
    }

    /// Up to which sequence the replica that answers has come.
    async fn seen(&self) -> Result<Option<u64>> {
        if !self.dice.hits(|rates| rates.lag) {
            return Ok(None);
        }
        let newest = self.log.newer(&[], 0).await?.upto;
        Ok(Some(newest.saturating_sub(self.dice.below(LAG))))
    }
}

/// What a subscription hears of the copies that were sent.
struct Distorted {
    sink: Arc<dyn LiveSink>,
    dice: Arc<Dice>,
}

impl LiveSink for Distorted {
    fn live(&self, target: &Target, copy: LiveCopy) {
        if self.dice.hits(|rates| rates.drop) {
            return;
        }
        if self.dice.hits(|rates| rates.double) {
            self.sink.live(target, copy.clone());
        }
        if !self.dice.hits(|rates| rates.delay) {
            return self.sink.live(target, copy);
        }
        let (sink, target) = (self.sink.clone(), target.clone());
        let delay = Duration::from_millis(self.dice.below(LONGEST_DELAY_MS));
        // Ends by itself, soon.
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            sink.live(&target, copy);
        });
    }
}

#[async_trait]
impl Log for FaultyLog {
    fn id(&self) -> watch::Receiver<Option<LogId>> {
        self.log.id()
    }

    async fn append(&self, target: &Target, payload: Bytes, dedup: &str) -> Result<Appended> {
        if self.dice.hits(|rates| rates.refused) {
            return Err(BusError::Unavailable("by the dice".to_owned()));
        }
        if self.dice.hits(|rates| rates.hang) {
            std::future::pending::<()>().await;
        }
        let appended = self.log.append(target, payload, dedup).await?;
        self.remember(target, appended.sequence).await?;
        if self.dice.hits(|rates| rates.unacked) {
            return Err(BusError::Timeout);
        }
        Ok(appended)
    }

    async fn beat(&self) -> Result<()> {
        self.log.beat().await
    }

    async fn beats(&self) -> Result<Beats> {
        self.log.beats().await
    }

    async fn publish_ephemeral(&self, target: &Target, payload: Bytes) -> Result<()> {
        self.log.publish_ephemeral(target, payload).await
    }

    async fn subscribe(&self, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription> {
        let distorted = Distorted {
            sink,
            dice: self.dice.clone(),
        };
        self.log.subscribe(target, Arc::new(distorted)).await
    }

    async fn read(&self, target: &Target, after: u64, limit: usize) -> Result<Page> {
        self.may_fail()?;
        let Some(seen) = self.seen().await? else {
            return self.log.read(target, after, limit).await;
        };
        let mut entries = self.as_of(target, seen).await?;
        entries.retain(|entry| entry.sequence > after);
        let left = entries.len().saturating_sub(limit) as u64;
        entries.truncate(limit);
        Ok(Page { entries, left })
    }

    async fn read_back(&self, target: &Target, before: u64, limit: usize) -> Result<Page> {
        self.may_fail()?;
        let before = self.seen().await?.map_or(before, |seen| before.min(seen + 1));
        self.log.read_back(target, before, limit).await
    }

    async fn get(&self, sequence: u64) -> Result<Option<LogEntry>> {
        self.log.get(sequence).await
    }

    async fn last(&self, target: &Target) -> Result<Option<u64>> {
        self.log.last(target).await
    }

    /// Replicas that lag may still show what went.
    async fn purge(&self, target: &Target, upto: u64) -> Result<u64> {
        self.log.purge(target, upto).await
    }

    async fn newer(&self, targets: &[Target], after: u64) -> Result<Newer> {
        self.may_fail()?;
        let Some(seen) = self.seen().await? else {
            return self.log.newer(targets, after).await;
        };
        let mut newer = Newer {
            targets: Vec::new(),
            upto: seen.max(after),
        };
        for target in targets {
            let stood = self.as_of(target, seen).await?;
            let newest = stood.last().map(|entry| entry.sequence);
            newer
                .targets
                .extend(newest.filter(|at| *at > after).map(|at| (target.clone(), at)));
        }
        Ok(newer)
    }

    async fn bounds(&self) -> Result<Bounds> {
        self.may_fail()?;
        self.log.bounds().await
    }

    async fn first_since(&self, time_ms: u64) -> Result<Option<u64>> {
        self.log.first_since(time_ms).await
    }

    fn disturbances(&self) -> watch::Receiver<u64> {
        self.log.disturbances()
    }
}
