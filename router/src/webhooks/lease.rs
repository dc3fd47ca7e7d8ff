//! Who delivers to a webhook: the router whose name stands under its key, which ends unless it is refreshed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use herald_proto::{id, subject};
use tokio::{
    pin,
    time::{Instant, sleep},
};
use tracing::debug;

use crate::bus::{Bucket, Bus, BusError, Version};

const TTL: Duration = Duration::from_secs(6);
const REFRESH: Duration = Duration::from_secs(2);
/// Between tries of a refresh that failed.
const RETRY: Duration = Duration::from_millis(250);
/// Whoever has not refreshed it for so long delivers no more: soon another may.
const SURE: Duration = Duration::from_secs(5);

pub(super) struct Lease {
    key: String,
    value: Bytes,
    revision: std::sync::atomic::AtomicU64,
}

impl Lease {
    /// Fails with `Conflict` where another has it.
    pub async fn take(bus: &Bus, webhook: &str, node: &str) -> Result<Self, BusError> {
        let key = subject::key(&[webhook, "lease"]);
        // Its own at each time: the one before of this node may still stand.
        let value = Bytes::from(format!("{node} {}", id::message_id()));
        let revision = bus.kv.create(Bucket::Hooks, &key, value.clone(), Some(TTL)).await?;
        Ok(Self {
            key,
            value,
            revision: revision.into(),
        })
    }

    /// Works while the lease stands.
    pub async fn hold(&self, bus: &Bus, work: impl Future<Output = Result<(), BusError>>) -> Result<(), BusError> {
        let refreshing = self.refresh(bus);
        pin!(work, refreshing);
        match select(work, refreshing).await {
            Either::Left((done, _)) | Either::Right((done, _)) => done,
        }
    }

    async fn refresh(&self, bus: &Bus) -> Result<(), BusError> {
        use std::sync::atomic::Ordering::Relaxed;
        let mut refreshed = Instant::now();
        loop {
            sleep(REFRESH).await;
            loop {
                let begun = Instant::now();
                let (value, revision) = (self.value.clone(), self.revision.load(Relaxed));
                let error = match bus
                    .kv
                    .update(Bucket::Hooks, &self.key, value, revision, Some(TTL))
                    .await
                {
                    Ok(revision) => {
                        self.revision.store(revision, Relaxed);
                        refreshed = begun;
                        break;
                    }
                    // An earlier refresh may have been stored although it seemed to fail.
                    Err(BusError::Conflict) => match self.standing(bus).await {
                        Ok(Some(revision)) => {
                            self.revision.store(revision, Relaxed);
                            continue;
                        }
                        Ok(None) => return Err(BusError::Conflict),
                        Err(error) => error,
                    },
                    Err(error) => error,
                };
                debug!(%error, "a lease could not be refreshed");
                if refreshed.elapsed() >= SURE {
                    return Err(error);
                }
                sleep(RETRY).await;
            }
        }
    }

    /// The revision of this lease, if it is the one that stands.
    async fn standing(&self, bus: &Bus) -> Result<Option<u64>, BusError> {
        let entry = bus.kv.get_latest(Bucket::Hooks, &self.key).await?;
        Ok(entry
            .filter(|entry| entry.value == self.value)
            .map(|entry| entry.revision))
    }

    /// Another takes it at once.
    pub async fn give_up(&self, bus: &Bus) {
        if let Ok(Some(revision)) = self.standing(bus).await
            && let Err(error) = bus
                .kv
                .change(Bucket::Hooks, &self.key, None, Version::Value(revision))
                .await
        {
            debug!(%error, "a lease was left behind: it ends by itself");
        }
    }
}
