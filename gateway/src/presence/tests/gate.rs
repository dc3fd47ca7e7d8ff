//! What stands between a node and the bucket: it can be closed, as by a pause of the node, and cut. What is written while it is
//! cut is of unknown outcome, and may be carried out much later, as by a connection that was given up.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use herald_router::bus::{Bucket, BusError, Entry, Kv, Result, Selection, Standing, Version, Watch};
use parking_lot::Mutex;
use rand::{Rng, rngs::StdRng};
use tokio::{sync::watch, time::sleep};

/// Until a write whose answer is lost is given up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How late something can still be carried out.
const LATE_MS: u64 = 12_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// What is begun waits.
    Closed,
    Cut,
}

/// The bucket as a node sees it.
pub(super) struct Gate {
    pub kv: Arc<dyn Kv>,
    pub state: watch::Receiver<State>,
    pub writes: Arc<AtomicUsize>,
    pub dice: Arc<Mutex<StdRng>>,
}

enum Fate {
    Known,
    Unanswered,
    Late(Duration),
    Lost,
}

impl Gate {
    async fn pass(&self) {
        // An error means that the node is gone, and this with it.
        let _open = self
            .state
            .clone()
            .wait_for(|state| *state != State::Closed)
            .await
            .is_ok();
    }

    async fn read(&self) -> Result<()> {
        self.pass().await;
        if *self.state.borrow() == State::Cut {
            sleep(PATIENCE).await;
            return Err(BusError::Timeout);
        }
        Ok(())
    }

    async fn write<T: Send + 'static>(&self, write: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.pass().await;
        self.writes.fetch_add(1, Ordering::Relaxed);
        // Not in one turn with what comes next, so that a crash can come between.
        sleep(Duration::from_millis(1)).await;
        self.pass().await;
        match self.fate() {
            Fate::Known => return write.await,
            Fate::Unanswered => drop(write.await),
            Fate::Late(by) => drop(tokio::spawn(async move {
                sleep(by).await;
                write.await
            })),
            Fate::Lost => {}
        }
        sleep(PATIENCE).await;
        Err(BusError::Timeout)
    }

    fn fate(&self) -> Fate {
        if *self.state.borrow() != State::Cut {
            return Fate::Known;
        }
        let mut dice = self.dice.lock();
        match dice.random_range(0..4) {
            0 => Fate::Unanswered,
            1 => Fate::Lost,
            _ => Fate::Late(Duration::from_millis(dice.random_range(0..LATE_MS))),
        }
    }
}

#[async_trait]
impl Kv for Gate {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        self.read().await?;
        self.kv.get(bucket, key).await
    }

    async fn get_latest(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        self.read().await?;
        self.kv.get_latest(bucket, key).await
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        let (kv, key) = (self.kv.clone(), key.to_owned());
        self.write(async move { kv.put(bucket, &key, value, ttl).await }).await
    }

    async fn create(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        let (kv, key) = (self.kv.clone(), key.to_owned());
        self.write(async move { kv.create(bucket, &key, value, ttl).await })
            .await
    }

    async fn update(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        let (kv, key) = (self.kv.clone(), key.to_owned());
        self.write(async move { kv.update(bucket, &key, value, revision, ttl).await })
            .await
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<()> {
        let (kv, key) = (self.kv.clone(), key.to_owned());
        self.write(async move { kv.delete(bucket, &key).await }).await
    }

    async fn look(&self, bucket: Bucket, key: &str) -> Result<Standing> {
        self.read().await?;
        self.kv.look(bucket, key).await
    }

    async fn change(&self, bucket: Bucket, key: &str, value: Option<Bytes>, seen: Version) -> Result<u64> {
        let (kv, key) = (self.kv.clone(), key.to_owned());
        self.write(async move { kv.change(bucket, &key, value, seen).await })
            .await
    }

    async fn select(&self, bucket: Bucket, prefixes: &[String]) -> Result<Selection> {
        self.read().await?;
        self.kv.select(bucket, prefixes).await
    }

    async fn purge(&self, bucket: Bucket, pattern: &str) -> Result<u64> {
        let (kv, pattern) = (self.kv.clone(), pattern.to_owned());
        self.write(async move { kv.purge(bucket, &pattern).await }).await
    }

    async fn watch(&self, bucket: Bucket, prefix: &str) -> Result<Watch> {
        self.kv.watch(bucket, prefix).await
    }
}

/// A bucket that keeps the traces of what was deleted, as NATS does and the one in memory need not: there nothing is late.
pub(super) struct Traced {
    kv: Arc<dyn Kv>,
    traces: tokio::sync::Mutex<Traces>,
}

#[derive(Default)]
struct Traces {
    of: HashMap<String, u64>,
    last: u64,
}

impl Traced {
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self {
            kv,
            traces: tokio::sync::Mutex::default(),
        }
    }
}

#[async_trait]
impl Kv for Traced {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        self.kv.get(bucket, key).await
    }

    async fn get_latest(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        self.kv.get_latest(bucket, key).await
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        self.kv.put(bucket, key, value, ttl).await
    }

    async fn create(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        self.kv.create(bucket, key, value, ttl).await
    }

    async fn update(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        self.kv.update(bucket, key, value, revision, ttl).await
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<()> {
        self.kv.delete(bucket, key).await
    }

    async fn look(&self, bucket: Bucket, key: &str) -> Result<Standing> {
        let traces = self.traces.lock().await;
        Ok(match self.kv.look(bucket, key).await? {
            Standing::Gone(_) => Standing::Gone(traces.of.get(key).copied().unwrap_or(0)),
            value => value,
        })
    }

    async fn change(&self, bucket: Bucket, key: &str, value: Option<Bytes>, seen: Version) -> Result<u64> {
        let mut traces = self.traces.lock().await;
        let trace = traces.of.get(key).copied().unwrap_or(0);
        if matches!(seen, Version::Gone(other) if other != trace) {
            return Err(BusError::Conflict);
        }
        let gone = value.is_none();
        let revision = self.kv.change(bucket, key, value, seen).await?;
        if gone {
            traces.last += 1;
            let trace = traces.last;
            traces.of.insert(key.to_owned(), trace);
            return Ok(trace);
        }
        traces.of.remove(key);
        Ok(revision)
    }

    async fn select(&self, bucket: Bucket, prefixes: &[String]) -> Result<Selection> {
        self.kv.select(bucket, prefixes).await
    }

    async fn purge(&self, bucket: Bucket, pattern: &str) -> Result<u64> {
        self.kv.purge(bucket, pattern).await
    }

    async fn watch(&self, bucket: Bucket, prefix: &str) -> Result<Watch> {
        self.kv.watch(bucket, prefix).await
    }
}
