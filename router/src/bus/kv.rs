//! The third capability: keys with values that end by themselves, and are watched.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::Result;

/// Events that are taken from a watch together.
const TOGETHER: usize = 256;

/// The buckets of DESIGN.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    Presence,
    Groups,
    Sessions,
    Revoked,
    Cursors,
    /// Of webhooks: who delivers to each, and how far.
    Hooks,
}

impl Bucket {
    pub const ALL: [Bucket; 6] = [
        Bucket::Presence,
        Bucket::Groups,
        Bucket::Sessions,
        Bucket::Revoked,
        Bucket::Cursors,
        Bucket::Hooks,
    ];

    /// The bucket's name after the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Bucket::Presence => "PRESENCE",
            Bucket::Groups => "GROUPS",
            Bucket::Sessions => "SESSIONS",
            Bucket::Revoked => "REVOKED",
            Bucket::Cursors => "CURSORS",
            Bucket::Hooks => "HOOKS",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: Bytes,
    pub revision: u64,
}

/// What a look at a key has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Value(Entry),
    /// Nothing stands. The revision of the trace that a deletion has left; 0 where there is none.
    Gone(u64),
}

/// What a conditional write compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The revision of the value that stands.
    Value(u64),
    /// Nothing stands, as in [`Standing::Gone`].
    Gone(u64),
}

impl Version {
    pub fn revision(self) -> u64 {
        match self {
            Self::Value(revision) | Self::Gone(revision) => revision,
        }
    }
}

impl Standing {
    pub fn version(&self) -> Version {
        match self {
            Self::Value(entry) => Version::Value(entry.revision),
            Self::Gone(trace) => Version::Gone(*trace),
        }
    }
}

/// What [`Kv::select`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Keys that stand, each once, in no order.
    pub entries: Vec<(String, Entry)>,
    /// Every change up to this revision is in `entries`, some later ones may be. 0: unknown, as where no key was found,
    /// for then nothing tells. So whoever needs it adds a prefix under which something always stands.
    pub upto: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvEvent {
    Put {
        key: String,
        value: Bytes,
        revision: u64,
        /// When it was stored, in Unix milliseconds by the clock of whoever stored it.
        time: u64,
    },
    /// Deleted, or its TTL ran out.
    Delete {
        key: String,
        revision: u64,
        /// As for `Put`.
        time: u64,
    },
    /// All that stood when the watch began, or began again, has been told.
    Current,
    /// The bucket was emptied, or made anew, or the watch lost its place: forget all; what stands is told again, and
    /// then `Current`.
    Reset,
}

/// A watch's events. Dropping it ends the watch.
pub struct Watch {
    pub(crate) receiver: mpsc::Receiver<KvEvent>,
    pub(crate) _stop: tokio_util::sync::DropGuard,
}

impl Watch {
    /// Ends only with the bus.
    pub async fn next(&mut self) -> Option<KvEvent> {
        self.receiver.recv().await
    }

    /// All that waits, at least one and not very many; empty at the end. May be cancelled: nothing is lost.
    pub async fn next_many(&mut self) -> Vec<KvEvent> {
        let mut events = Vec::new();
        self.receiver.recv_many(&mut events, TOGETHER).await;
        events
    }
}

/// Keys are made by `herald_proto::subject::key`. A TTL is in whole seconds, at least one.
#[async_trait]
pub trait Kv: Send + Sync {
    /// From the nearest replica: may lag behind an ack.
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>>;

    /// From the leader: sees every acknowledged change.
    async fn get_latest(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>>;

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64>;

    /// Fails with `Conflict` where the key stands.
    async fn create(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64>;

    /// Fails with `Conflict` where another revision than `revision` stands, or none.
    async fn update(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64>;

    /// Leaves nothing behind for long. A key that does not stand is no error.
    async fn delete(&self, bucket: Bucket, key: &str) -> Result<()>;

    /// What stands at the leader, or the trace of what stood: what [`Kv::change`] compares with.
    async fn look(&self, bucket: Bucket, key: &str) -> Result<Standing>;

    /// Puts a value, or with none makes sure that nothing stands, where all is still as it was `seen`. Fails with `Conflict`
    /// where it is not: also where the leader that was looked at no longer was one. The revision of what stands now, or of
    /// the trace.
    ///
    /// A write of unknown outcome may be carried out much later, by a connection that was cut off and is closed already.
    /// One that compares then fails, if whoever wrote after it looked before.
    async fn change(&self, bucket: Bucket, key: &str, value: Option<Bytes>, seen: Version) -> Result<u64>;

    /// All keys that start with the tokens of any of `prefixes`, as in [`Kv::watch`]. From the nearest replicas: may lag
    /// behind an ack. Meant for up to a thousand prefixes with few keys each; a single one with more than a thousand
    /// costs the leader a list of its keys, and one with more than 100,000 may be `TooLarge`.
    async fn select(&self, bucket: Bucket, prefixes: &[String]) -> Result<Selection>;

    /// Removes every key that matches `pattern` (`*`: one token, `>` at the end: one or more) for good, at one stroke and
    /// without a trace. How many messages went: over NATS the traces of deleted keys among them, so more than keys.
    ///
    /// Watches hear nothing of it, not even of a deletion before it that had not come to them yet. Only where nothing is
    /// left of what stood some seconds before may a watch take the bucket for emptied, and begin again.
    async fn purge(&self, bucket: Bucket, pattern: &str) -> Result<u64>;

    /// All keys that start with the tokens of `prefix` (`""`: all), then every change.
    async fn watch(&self, bucket: Bucket, prefix: &str) -> Result<Watch>;
}
