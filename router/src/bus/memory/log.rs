//! The log: one short lock gives out sequences and keeps the messages, and a lock per shard of targets keeps deliveries
//! in that order. Sinks run under the second lock only, so a slow one delays no target of another shard.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use herald_proto::{LogId, Target};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::MAX_PAYLOAD;
use crate::bus::{
    Appended, Beats, Bounds, BusError, LiveCopy, LiveSink, LiveSubscription, Log, LogEntry, LogLimits, Newer, Page,
    Result, StoredAt,
};
use sinks::Sinks;
use store::Store;

mod seen;
mod sinks;
mod store;

/// Enough that appends to different targets seldom meet, little enough to cost nothing.
const SHARDS: usize = 64;

pub struct MemoryLog {
    id: watch::Sender<Option<LogId>>,
    store: Mutex<Store>,
    shards: Arc<Shards>,
    next_subscription: AtomicU64,
    disturbances: watch::Sender<u64>,
    /// The sequence of the newest.
    beats: watch::Sender<u64>,
}

struct Shards {
    shards: Vec<Shard>,
    hasher: std::hash::RandomState,
}

/// Lock order: `delivery`, then the store or `sinks`, never both; neither of these is held while a sink runs.
#[derive(Default)]
struct Shard {
    /// Held from before a sequence is assigned until its copies are handed over: that is the order per target.
    delivery: Mutex<()>,
    sinks: Mutex<HashMap<Target, Sinks>>,
}

impl Shards {
    fn of(&self, target: &Target) -> &Shard {
        // The remainder is below SHARDS, so the conversion loses nothing.
        &self.shards[(self.hasher.hash_one(target) % SHARDS as u64) as usize]
    }
}

impl Shard {
    /// The sinks are cloned out first, so that a sink may subscribe and unsubscribe.
    fn deliver(&self, target: &Target, payload: Bytes, stored: Option<StoredAt>) {
        let sinks = self.sinks.lock().get(target).cloned();
        if let Some(sinks) = sinks {
            sinks.each(|sink| {
                let payload = payload.clone();
                sink.live(target, LiveCopy { payload, stored });
            });
        }
    }
}

/// All that an idle subscription costs beside its place in the map.
struct Subscription {
    shards: Weak<Shards>,
    target: Target,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(shards) = self.shards.upgrade() else {
            return;
        };
        let mut sinks = shards.of(&self.target).sinks.lock();
        // What is taken out is dropped after the lock: a sink's own drop may unsubscribe others.
        let removed = match sinks.get_mut(&self.target) {
            Some(of_target) => match of_target.without(self.id) {
                Some(rest) => Some(std::mem::replace(of_target, rest)),
                None => sinks.remove(&self.target),
            },
            None => None,
        };
        drop(sinks);
        drop(removed);
    }
}

impl MemoryLog {
    pub fn new(limits: LogLimits) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        // A clock before 1970 tells no two starts apart; nothing else depends on it.
        let id = LogId::new(created.unwrap_or_default().as_nanos(), 1, 0);
        Self {
            id: watch::Sender::new(Some(id)),
            store: Mutex::new(Store::new(limits)),
            shards: Arc::new(Shards {
                shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(),
                hasher: std::hash::RandomState::new(),
            }),
            next_subscription: AtomicU64::new(0),
            disturbances: watch::Sender::new(0),
            beats: watch::Sender::new(0),
        }
    }
}

fn check_size(payload: &Bytes) -> Result<()> {
    if payload.len() > MAX_PAYLOAD {
        return Err(BusError::TooLarge);
    }
    Ok(())
}

#[async_trait]
impl Log for MemoryLog {
    fn id(&self) -> watch::Receiver<Option<LogId>> {
        self.id.subscribe()
    }

    async fn append(&self, target: &Target, payload: Bytes, dedup: &str) -> Result<Appended> {
        check_size(&payload)?;
        let shard = self.shards.of(target);
        // A copy of its own: shared with who is given it, it would keep a header beside it for as long as it is stored.
        let kept = Bytes::copy_from_slice(&payload);
        let _order = shard.delivery.lock();
        let appended = self.store.lock().append(target, kept, dedup);
        Ok(match appended {
            Ok(stored) => {
                shard.deliver(target, payload, Some(stored));
                Appended {
                    sequence: stored.sequence,
                    duplicate: false,
                    uncertain: false,
                }
            }
            Err(first) => Appended {
                sequence: first,
                duplicate: true,
                uncertain: true,
            },
        })
    }

    /// Takes a sequence, as on NATS; and what is too old goes even where nothing is appended.
    async fn beat(&self) -> Result<()> {
        let sequence = self.store.lock().beat();
        self.beats.send_replace(sequence);
        Ok(())
    }

    async fn beats(&self) -> Result<Beats> {
        let beats = stream::unfold(self.beats.subscribe(), |mut beats| async {
            beats.changed().await.ok()?;
            let sequence = *beats.borrow_and_update();
            Some((sequence, beats))
        });
        Ok(beats.boxed())
    }

    async fn publish_ephemeral(&self, target: &Target, payload: Bytes) -> Result<()> {
        check_size(&payload)?;
        let shard = self.shards.of(target);
        // No order to keep, but no sink is ever called twice at once for one target.
        let _order = shard.delivery.lock();
        shard.deliver(target, payload, None);
        Ok(())
    }

    async fn subscribe(&self, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription> {
        let id = self.next_subscription.fetch_add(1, Ordering::Relaxed);
        let shard = self.shards.of(target);
        let mut sinks = shard.sinks.lock();
        match sinks.get_mut(target) {
            Some(of_target) => *of_target = of_target.with(id, sink),
            None => {
                sinks.insert(target.clone(), Sinks::one(id, sink));
            }
        }
        drop(sinks);
        let held = Subscription {
            shards: Arc::downgrade(&self.shards),
            target: target.clone(),
            id,
        };
        Ok(LiveSubscription { _held: Box::new(held) })
    }

    async fn read(&self, target: &Target, after: u64, limit: usize) -> Result<Page> {
        Ok(self.store.lock().read(target, after, limit))
    }

    async fn read_back(&self, target: &Target, before: u64, limit: usize) -> Result<Page> {
        Ok(self.store.lock().read_back(target, before, limit))
    }

    async fn bounds(&self) -> Result<Bounds> {
        Ok(self.store.lock().bounds())
    }

    async fn first_since(&self, time_ms: u64) -> Result<Option<u64>> {
        Ok(self.store.lock().first_since(time_ms))
    }

    /// Memory loses nothing.
    fn disturbances(&self) -> watch::Receiver<u64> {
        self.disturbances.subscribe()
    }

    async fn get(&self, sequence: u64) -> Result<Option<LogEntry>> {
        Ok(self.store.lock().get(sequence))
    }

    async fn last(&self, target: &Target) -> Result<Option<u64>> {
        Ok(self.store.lock().last_of(target))
    }

    async fn purge(&self, target: &Target, upto: u64) -> Result<u64> {
        Ok(self.store.lock().purge(target, upto))
    }

    async fn newer(&self, targets: &[Target], after: u64) -> Result<Newer> {
        Ok(self.store.lock().newer(targets, after))
    }
}

#[cfg(test)]
mod tests;
