//! Buckets in which something happens just before a change that was decided on is made.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::bus::{Bucket, Entry, Kv, Result, Selection, Standing, Version, Watch};

type Happening = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Between {
    kv: Arc<dyn Kv>,
    /// Once, when so many changes have been made.
    happens: Mutex<(usize, Option<Happening>)>,
}

impl Between {
    pub(super) fn new(kv: Arc<dyn Kv>, happens: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::after(0, kv, happens)
    }

    pub(super) fn after(changes: usize, kv: Arc<dyn Kv>, happens: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            kv,
            happens: Mutex::new((changes, Some(Box::pin(happens)))),
        }
    }

    fn due(&self) -> Option<Happening> {
        let (changes, happens) = &mut *self.happens.lock();
        if let Some(fewer) = changes.checked_sub(1) {
            *changes = fewer;
            return None;
        }
        happens.take()
    }

    async fn happen(&self) {
        if let Some(happens) = self.due() {
            happens.await;
        }
    }
}

#[async_trait]
impl Kv for Between {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        self.kv.get(bucket, key).await
    }

    async fn get_latest(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        self.kv.get_latest(bucket, key).await
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        self.happen().await;
        self.kv.put(bucket, key, value, ttl).await
    }

    async fn create(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        self.happen().await;
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
        self.happen().await;
        self.kv.update(bucket, key, value, revision, ttl).await
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<()> {
        self.happen().await;
        self.kv.delete(bucket, key).await
    }

    async fn look(&self, bucket: Bucket, key: &str) -> Result<Standing> {
        self.kv.look(bucket, key).await
    }

    async fn change(&self, bucket: Bucket, key: &str, value: Option<Bytes>, seen: Version) -> Result<u64> {
        self.happen().await;
        self.kv.change(bucket, key, value, seen).await
    }

    async fn select(&self, bucket: Bucket, prefixes: &[String]) -> Result<Selection> {
        self.kv.select(bucket, prefixes).await
    }

    async fn purge(&self, bucket: Bucket, pattern: &str) -> Result<u64> {
        self.happen().await;
        self.kv.purge(bucket, pattern).await
    }

    async fn watch(&self, bucket: Bucket, prefix: &str) -> Result<Watch> {
        self.kv.watch(bucket, prefix).await
    }
}
