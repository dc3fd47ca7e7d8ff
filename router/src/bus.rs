//! The bus: the one seam between Herald and what carries its messages.
//!
//! Three small capabilities, [`PubSub`], [`Log`] and [`Kv`], each with an implementation in memory (the embedded default)
//! and one over NATS. `tests/tests/bus.rs` holds both to the same promises. Callers use these and nothing beneath them.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use herald_proto::{LogId, Target};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

pub mod fault;
pub mod memory;
pub mod nats;

/// A handle to all three capabilities; cloning is cheap.
#[derive(Clone)]
pub struct Bus {
    pub pubsub: Arc<dyn PubSub>,
    pub log: Arc<dyn Log>,
    pub kv: Arc<dyn Kv>,
}

/// What the log keeps, and how safely. Limits apply to both implementations, replicas only to NATS.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLimits {
    pub max_age: Duration,
    pub max_messages_per_target: u64,
    /// Of the whole log.
    pub max_bytes: u64,
    /// None: 3, or 1 where the server refuses 3.
    pub replicas: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody serves the subject: known at once.
    #[error("nobody serves this request")]
    NoResponders,
    /// No answer in time; whether the other side acted is unknown.
    #[error("no answer in time")]
    Timeout,
    /// The bus is out of reach; whether the other side acted is unknown.
    #[error("the message bus is not available: {0}")]
    Unavailable(String),
    /// A compare-and-set met another revision.
    #[error("another revision stands")]
    Conflict,
    #[error("larger than the bus allows")]
    TooLarge,
    #[error("the message bus refused: {0}")]
    Refused(String),
}

pub type Result<T, E = BusError> = std::result::Result<T, E>;

/// Whether the bus can be used now. Changes are seen through [`PubSub::state`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusState {
    /// Never connected so far, or its streams and buckets are not there yet.
    Starting,
    Ready,
    /// The connection is lost; it comes back by itself.
    Lost,
}

/// One request to a served subject.
#[derive(Debug)]
pub struct Request {
    /// The subject it was sent to.
    pub subject: String,
    pub payload: Bytes,
    pub reply: Reply,
}

/// Where the answer goes. Dropping it leaves the asker to its deadline.
pub struct Reply(pub(crate) ReplyTo);

pub(crate) enum ReplyTo {
    /// Shared by all who may answer; the first does.
    Memory(Arc<Mutex<Option<oneshot::Sender<Bytes>>>>),
    /// Nobody asked: a plain message.
    Nowhere,
    Nats {
        client: Arc<async_nats::Client>,
        subject: async_nats::Subject,
    },
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl Reply {
    /// Fails only where the bus is gone; an asker that no longer waits is no error.
    pub async fn send(self, payload: Bytes) -> Result<()> {
        match self.0 {
            ReplyTo::Nowhere => Ok(()),
            ReplyTo::Memory(asker) => {
                if let Some(asker) = asker.lock().take() {
                    // One who has given up knows it from its own deadline.
                    let _ = asker.send(payload);
                }
                Ok(())
            }
            ReplyTo::Nats { client, subject } => {
                // The client would keep it for the next connection, where nobody waits for it any more.
                if client.connection_state() != async_nats::connection::State::Connected {
                    return Err(BusError::Unavailable("not connected to NATS".to_owned()));
                }
                Ok(client.publish(subject, payload).await?)
            }
        }
    }
}

/// Where a subscription's messages come from. Dropping it ends the subscription.
#[async_trait]
pub(crate) trait Source: Send {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Request>>;

    async fn unsubscribe(&mut self);
}

/// A subscription's messages. Dropping it ends the subscription.
pub struct Requests(pub(crate) Box<dyn Source>);

impl Requests {
    pub async fn next(&mut self) -> Option<Request> {
        poll_fn(|cx| self.0.poll_next(cx)).await
    }

    /// What has come already, without waiting. Whatever came to this process before a request that it has received,
    /// by whichever subscription, is seen.
    pub fn try_next(&mut self) -> Option<Request> {
        // Not refused for having done much in one turn: None means that nothing is there.
        let next = tokio::task::unconstrained(self.next());
        next.now_or_never().flatten()
    }

    /// No new requests; those under way still come, then `next` ends.
    pub async fn unsubscribe(&mut self) {
        self.0.unsubscribe().await;
    }
}

#[async_trait]
pub trait PubSub: Send + Sync {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<()>;

    /// Everything published to `subject` (NATS wildcards allowed) from now on. Requests count as messages.
    async fn subscribe(&self, subject: &str) -> Result<Requests>;

    /// Requests to `subject`, each to one member of `queue` only.
    async fn queue_subscribe(&self, subject: &str, queue: &str) -> Result<Requests>;

    /// Asks whoever serves `subject`. Without anybody: `NoResponders`, at once.
    async fn request(&self, subject: &str, payload: Bytes, deadline: Duration) -> Result<Bytes>;

    /// Returns once everything that this process sent before, subscriptions included, has been taken in by the server
    /// that it is connected to. Other servers of a cluster may learn of a subscription some milliseconds later.
    async fn fence(&self) -> Result<()>;

    fn state(&self) -> watch::Receiver<BusState>;
}

/// Where and when a message was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredAt {
    pub sequence: u64,
    /// The sequence of the message before it with the same target, 0 where there was none.
    pub previous: u64,
    /// The log's clock, Unix milliseconds.
    pub time_ms: u64,
}

/// A message as it comes to a live subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveCopy {
    pub payload: Bytes,
    /// None: ephemeral.
    pub stored: Option<StoredAt>,
}

/// A message as it is read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub payload: Bytes,
    pub sequence: u64,
    pub time_ms: u64,
}

/// Some of a target's messages, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<LogEntry>,
    /// How many more there are in the direction of reading.
    pub left: u64,
}

impl Page {
    /// Whether messages after `after` may have been trimmed, of which `before` were read, and now these.
    pub fn may_lack(&self, before: u64, after: u64, bounds: Bounds) -> bool {
        before + self.entries.len() as u64 + self.left >= bounds.per_target || bounds.first > after + 1
    }
}

/// What the log has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From this sequence on nothing is gone but by the limit of messages per target.
    pub first: u64,
    /// That limit.
    pub per_target: u64,
}

/// Takes live copies. Called in the order of arrival for each target, from the bus' own task: it must not block.
pub trait LiveSink: Send + Sync {
    fn live(&self, target: &Target, copy: LiveCopy);
}

/// Ends the live subscription when dropped.
#[must_use]
pub struct LiveSubscription {
    pub(crate) _held: Box<dyn Send + Sync>,
}

/// What an append came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub sequence: u64,
    /// A message with the same dedup id was there before: `sequence` is its sequence, and nothing was stored.
    pub duplicate: bool,
    /// Somebody asked for this before and heard no answer: whoever stored it may have ended before it sent live copies.
    pub uncertain: bool,
}

/// What [`Log::newer`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// The targets with something newer, each with the sequence of its newest message.
    pub targets: Vec<(Target, u64)>,
    /// The answer holds for everything up to this sequence.
    pub upto: u64,
}

#[async_trait]
pub trait Log: Send + Sync {
    /// Which log this is; changes when the stream was made anew. None until the log has been reached once.
    fn id(&self) -> watch::Receiver<Option<LogId>>;

    /// Stores a message and, from the same act, sends live copies. Returns when it is stored.
    /// `Unavailable` and `Timeout` leave the outcome unknown: try again under the same `dedup` id.
    async fn append(&self, target: &Target, payload: Bytes, dedup: &str) -> Result<Appended>;

    /// Tells the log that time goes on, so that [`Log::newer`] has an `upto`. Never delivered.
    async fn beat(&self) -> Result<()>;

    /// Live copies only: stored nowhere, and in no order with stored ones.
    async fn publish_ephemeral(&self, target: &Target, payload: Bytes) -> Result<()>;

    /// Live copies for `target` to `sink` from now on. They are hints: some may be missing, none is out of order.
    async fn subscribe(&self, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription>;

    /// Up to `limit` stored messages of `target` after `after`. May lag some milliseconds behind acks.
    async fn read(&self, target: &Target, after: u64, limit: usize) -> Result<Page>;

    /// The last up to `limit` stored messages of `target` before `before`. May lag some milliseconds behind acks.
    async fn read_back(&self, target: &Target, before: u64, limit: usize) -> Result<Page>;

    async fn bounds(&self) -> Result<Bounds>;

    /// Changes when live copies may have been lost: a connection broke, a subscription overflowed.
    fn disturbances(&self) -> watch::Receiver<u64>;

    /// One stored message of any target, from where it is certainly known if it was acked.
    async fn get(&self, sequence: u64) -> Result<Option<LogEntry>>;

    /// Which of `targets` have messages after `after`.
    async fn newer(&self, targets: &[Target], after: u64) -> Result<Newer>;
}

/// The buckets of DESIGN.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    Presence,
    Groups,
    Sessions,
    Revoked,
    Cursors,
}

impl Bucket {
    pub const ALL: [Bucket; 5] = [
        Bucket::Presence,
        Bucket::Groups,
        Bucket::Sessions,
        Bucket::Revoked,
        Bucket::Cursors,
    ];

    /// The bucket's name after the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Bucket::Presence => "PRESENCE",
            Bucket::Groups => "GROUPS",
            Bucket::Sessions => "SESSIONS",
            Bucket::Revoked => "REVOKED",
            Bucket::Cursors => "CURSORS",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: Bytes,
    pub revision: u64,
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
    },
    /// Deleted, or its TTL ran out.
    Delete {
        key: String,
        revision: u64,
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
