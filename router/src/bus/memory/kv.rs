//! Buckets with revisions, TTLs and watches.
//!
//! A watch holds no queue of changes: it remembers the revision that it has told and asks the bucket what is newer. So
//! a slow watcher costs nothing; it sees only the last of several values of one key, as on NATS with a history of 1.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle, task::TaskTracker};

use super::{MAX_PAYLOAD, pubsub};
use crate::bus::{Bucket, BusError, Entry, Kv, Result, Selection, Standing, Version, Watch};
use table::{Expect, Table};

mod ends;
mod item;
mod table;
mod watcher;

/// Events that may wait in one watch before it stops reading from the bucket.
const WATCH_PENDING: usize = 256;

pub struct MemoryKv {
    shared: Arc<Shared>,
    /// One task for all TTLs, begun with the first.
    timer: OnceLock<AbortOnDropHandle<()>>,
    watchers: TaskTracker,
    end: CancellationToken,
}

struct Shared {
    buckets: [State; Bucket::ALL.len()],
    /// A TTL ends sooner than all that the timer knows.
    sooner: Notify,
}

struct State {
    table: Mutex<Table>,
    changed: watch::Sender<()>,
}

impl Shared {
    fn state(&self, bucket: Bucket) -> &State {
        // `ALL` names every bucket in the order of the enum, and the array is as long.
        &self.buckets[bucket as usize]
    }
}

impl State {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    fn told(&self) {
        self.changed.send_replace(());
    }
}

impl Default for MemoryKv {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryKv {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl MemoryKv {
    pub fn new() -> Self {
        let state = || State {
            table: Mutex::default(),
            changed: watch::Sender::new(()),
        };
        Self {
            shared: Arc::new(Shared {
                buckets: std::array::from_fn(|_| state()),
                sooner: Notify::new(),
            }),
            timer: OnceLock::new(),
            watchers: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }

    /// Empties a bucket at one stroke, as an operator may do with a stream. Its watches begin again.
    pub fn purge_bucket(&self, bucket: Bucket) {
        let state = self.shared.state(bucket);
        state.table().purge();
        state.told();
    }

    fn write(&self, bucket: Bucket, key: &str, value: Bytes, expect: Expect, ttl: Option<Duration>) -> Result<u64> {
        if value.len() > MAX_PAYLOAD {
            return Err(BusError::TooLarge);
        }
        let ends = ttl.map(|ttl| Instant::now() + ttl);
        let state = self.shared.state(bucket);
        let (revision, sooner) = {
            let mut table = state.table();
            let revision = table.put(key, value, expect, ends)?;
            (revision, ends.is_some() && table.next_end() == ends)
        };
        state.told();
        if sooner {
            self.timer
                .get_or_init(|| AbortOnDropHandle::new(tokio::spawn(expire(self.shared.clone()))));
            self.shared.sooner.notify_one();
        }
        Ok(revision)
    }
}

async fn expire(shared: Arc<Shared>) {
    loop {
        let mut next: Option<Instant> = None;
        for state in &shared.buckets {
            let mut table = state.table();
            let expired = table.expire(Instant::now());
            let end = table.next_end();
            drop(table);
            if expired {
                state.told();
            }
            next = [next, end].into_iter().flatten().min();
        }
        match next {
            Some(end) => tokio::select! {
                () = sleep_until(end) => {}
                () = shared.sooner.notified() => {}
            },
            None => shared.sooner.notified().await,
        }
    }
}

#[async_trait]
impl Kv for MemoryKv {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        Ok(self.shared.state(bucket).table().get(key))
    }

    async fn get_latest(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        self.get(bucket, key).await
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        self.write(bucket, key, value, Expect::Anything, ttl)
    }

    async fn create(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        self.write(bucket, key, value, Expect::Nothing, ttl)
    }

    async fn update(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        self.write(bucket, key, value, Expect::Revision(revision), ttl)
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<()> {
        let state = self.shared.state(bucket);
        state.table().delete(key);
        state.told();
        Ok(())
    }

    async fn look(&self, bucket: Bucket, key: &str) -> Result<Standing> {
        let entry = self.shared.state(bucket).table().get(key);
        Ok(entry.map_or(Standing::Gone(0), Standing::Value))
    }

    async fn change(&self, bucket: Bucket, key: &str, value: Option<Bytes>, seen: Version) -> Result<u64> {
        let expect = match seen {
            Version::Value(revision) => Expect::Revision(revision),
            Version::Gone(_) => Expect::Nothing,
        };
        let Some(value) = value else {
            let state = self.shared.state(bucket);
            let revision = state.table().delete_if(key, expect)?;
            state.told();
            return Ok(revision);
        };
        self.write(bucket, key, value, expect, None)
    }

    async fn select(&self, bucket: Bucket, prefixes: &[String]) -> Result<Selection> {
        let table = self.shared.state(bucket).table();
        // One prefix may lie within another.
        let found: BTreeMap<&str, Entry> = prefixes.iter().flat_map(|prefix| table.select(prefix)).collect();
        Ok(Selection {
            upto: if found.is_empty() { 0 } else { table.revision() },
            entries: found.into_iter().map(|(key, entry)| (key.to_owned(), entry)).collect(),
        })
    }

    async fn purge(&self, bucket: Bucket, pattern: &str) -> Result<u64> {
        let mut table = self.shared.state(bucket).table();
        Ok(table.purge_if(|key| pubsub::matches(pattern, key)))
    }

    async fn watch(&self, bucket: Bucket, prefix: &str) -> Result<Watch> {
        let (sender, receiver) = mpsc::channel(WATCH_PENDING);
        let stop = self.end.child_token();
        let watcher = watcher::Watcher::new(self.shared.clone(), bucket, prefix, sender);
        let stopped = stop.clone();
        self.watchers.spawn(async move {
            stopped.run_until_cancelled(watcher.run()).await;
        });
        Ok(Watch {
            receiver,
            _stop: stop.drop_guard(),
        })
    }
}
