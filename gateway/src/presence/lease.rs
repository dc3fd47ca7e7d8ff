//! This node's lease: while it stands, its incarnation's keys count.

use std::time::Duration;

use bytes::Bytes;
use herald_proto::{cluster::Lease, id, limits};
use herald_router::{
    bus::{Bucket, Bus, BusError, Version},
    presence::Fact,
};
use prost::Message;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::writer::REFRESH;

/// Between two looks at another process' lease.
const LOOK: Duration = Duration::from_millis(500);
/// Who has not refreshed its lease for so long is gone, or will find it lost.
const GONE: Duration = REFRESH.saturating_add(REFRESH.checked_div(2).expect("two is not zero"));

/// One incarnation of this node: a random name, and the revision of the lease that stands for it.
pub(super) struct NodeLease {
    key: String,
    node: String,
    process: String,
    pub incarnation: String,
    started: u64,
    revision: u64,
}

/// Two gateways of one name would take the lease from each other for ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another gateway runs under the name {0}: names of nodes must be unique in the cluster")]
pub struct NameTaken(pub String);

/// The name of a process, or of an incarnation.
pub(super) fn made_up() -> String {
    format!("{:016x}", rand::random::<u64>())
}

impl NodeLease {
    /// A new incarnation. Nothing counts before [`Self::put`].
    pub fn new(node: &str, process: &str) -> Self {
        Self {
            key: Fact::Lease { node }.key(),
            node: node.to_owned(),
            process: process.to_owned(),
            incarnation: made_up(),
            started: id::now_ms(),
            revision: 0,
        }
    }

    /// Waits until no other process holds the lease of this name: one that is gone may have left it. Fails where one
    /// goes on refreshing it.
    pub async fn vacant(&self, bus: &Bus) -> Result<(), NameTaken> {
        let mut other: Option<Other> = None;
        loop {
            match self.held_by_another(bus).await {
                Ok(None) => return Ok(()),
                Ok(Some(revision)) => {
                    let other = other.get_or_insert_with(|| Other::new(revision));
                    other.found(revision);
                    if other.lives() {
                        return Err(NameTaken(self.node.clone()));
                    }
                    if other.is_gone() {
                        return Ok(());
                    }
                }
                Err(error) => debug!(%error, "whether the node's name is taken is not known yet"),
            }
            sleep(LOOK).await;
        }
    }

    /// The revision of the lease that stands, where it is another process'.
    async fn held_by_another(&self, bus: &Bus) -> Result<Option<u64>, BusError> {
        let entry = bus.kv.get_latest(Bucket::Presence, &self.key).await?;
        let another = entry.filter(|entry| !self.is_own(&entry.value));
        Ok(another.map(|entry| entry.revision))
    }

    /// Whether it is a lease of this process, of whatever incarnation.
    fn is_own(&self, value: &[u8]) -> bool {
        Lease::decode(value).is_ok_and(|lease| lease.process == self.process)
    }

    /// Ends it, if it is this process' still.
    pub async fn end(node: &str, process: &str, bus: &Bus) -> Result<(), BusError> {
        let lease = Self::new(node, process);
        let entry = bus.kv.get_latest(Bucket::Presence, &lease.key).await?;
        let Some(entry) = entry.filter(|entry| lease.is_own(&entry.value)) else {
            return Ok(());
        };
        // That of the next process of this name must not end by it, should it come late.
        let seen = Version::Value(entry.revision);
        bus.kv.change(Bucket::Presence, &lease.key, None, seen).await.map(drop)
    }

    pub async fn put(&mut self, bus: &Bus) -> Result<(), BusError> {
        let put = bus
            .kv
            .put(Bucket::Presence, &self.key, self.value(), Some(limits::LEASE));
        self.revision = put.await?;
        Ok(())
    }

    /// Fails with `Conflict` where the lease has ended, or another incarnation's stands.
    pub async fn refresh(&mut self, bus: &Bus) -> Result<(), BusError> {
        let (value, ttl) = (self.value(), Some(limits::LEASE));
        let update = bus.kv.update(Bucket::Presence, &self.key, value, self.revision, ttl);
        self.revision = match update.await {
            // An earlier refresh may have been stored although it seemed to fail.
            Err(BusError::Conflict) => self.standing(bus).await?,
            outcome => outcome?,
        };
        Ok(())
    }

    /// The revision of this incarnation's lease, if it is the one that stands.
    async fn standing(&self, bus: &Bus) -> Result<u64, BusError> {
        let entry = bus.kv.get_latest(Bucket::Presence, &self.key).await?;
        let own = entry.filter(|entry| entry.value == self.value());
        own.map(|entry| entry.revision).ok_or(BusError::Conflict)
    }

    fn value(&self) -> Bytes {
        let lease = Lease {
            incarnation: self.incarnation.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            process: self.process.clone(),
        };
        lease.encode_to_vec().into()
    }
}

/// The process that holds the lease of this name.
struct Other {
    revision: u64,
    since: Instant,
    refreshed: u32,
}

impl Other {
    fn new(revision: u64) -> Self {
        Self {
            revision,
            since: Instant::now(),
            refreshed: 0,
        }
    }

    fn found(&mut self, revision: u64) {
        if revision != self.revision {
            *self = Self {
                refreshed: self.refreshed + 1,
                ..Self::new(revision)
            };
        }
    }

    /// One that has died may have left a refresh on its way, but no more than one that passes: each compares with the revision
    /// before it.
    fn lives(&self) -> bool {
        self.refreshed > 1
    }

    fn is_gone(&self) -> bool {
        self.since.elapsed() >= GONE
    }
}
