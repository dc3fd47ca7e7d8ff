//! The second capability: messages that are stored, in one order for each target.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use herald_proto::{LogId, Target};
use tokio::sync::watch;

use super::Result;

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
    /// How many messages there are from the first of these on.
    pub fn count(&self) -> u64 {
        self.entries.len() as u64 + self.left
    }

    /// Whether messages after `after` may have been trimmed, of which `before` were read, and now these.
    pub fn may_lack(&self, before: u64, after: u64, bounds: Bounds) -> bool {
        before + self.count() >= bounds.per_target
            || bounds.first > after.saturating_add(1)
            || bounds.earlier.is_some_and(|earlier| self.fills(before, earlier))
    }

    /// Whether an earlier limit may have trimmed the target: what it had kept then is as much as it might keep.
    fn fills(&self, before: u64, earlier: Earlier) -> bool {
        let old = self.entries.partition_point(|entry| entry.sequence <= earlier.upto);
        let Some(last) = old.checked_sub(1).map(|last| self.entries[last].sequence) else {
            return false; // all that is older was judged with the page before
        };
        // Those that were not read yet are old at most as far as there are sequences.
        let left = if old == self.entries.len() { self.left } else { 0 };
        before + old as u64 + left.min(earlier.upto - last) >= earlier.per_target
    }

    /// The same messages with nothing in them: all that [`Self::may_lack`] needs.
    pub(crate) fn outline(&self) -> Self {
        let hollow = |entry: &LogEntry| LogEntry {
            payload: Bytes::new(),
            ..*entry
        };
        Self {
            entries: self.entries.iter().map(hollow).collect(),
            left: self.left,
        }
    }
}

/// What the log has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From this sequence on nothing is gone but by the limit of messages per target.
    pub first: u64,
    /// The newest sequence that was given to a message, and that message's time. Certain, unlike what replicas answer:
    /// nothing that was acked before the question is beyond it.
    pub last: u64,
    pub last_ms: u64,
    /// That limit.
    pub per_target: u64,
    /// Where it was lower before.
    pub earlier: Option<Earlier>,
}

/// A limit of messages per target that was raised since: what it trimmed is gone all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    pub per_target: u64,
    /// It was in force up to this sequence.
    pub upto: u64,
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

/// Stored beats as they come back live, by their sequences.
pub type Beats = BoxStream<'static, u64>;

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

    /// The live copies of everybody's beats, from now on: that one comes proves that what is stored is sent on.
    async fn beats(&self) -> Result<Beats>;

    /// Live copies only: stored nowhere, and in no order with stored ones.
    async fn publish_ephemeral(&self, target: &Target, payload: Bytes) -> Result<()>;

    /// Live copies for `target` to `sink` from now on. They are hints: some may be missing, none is out of order.
    async fn subscribe(&self, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription>;

    /// Up to `limit` stored messages of `target` after `after`. May lag some milliseconds behind acks.
    async fn read(&self, target: &Target, after: u64, limit: usize) -> Result<Page>;

    /// The last up to `limit` stored messages of `target` before `before`. May lag some milliseconds behind acks.
    async fn read_back(&self, target: &Target, before: u64, limit: usize) -> Result<Page>;

    /// As certain as [`Log::get`].
    async fn bounds(&self) -> Result<Bounds>;

    /// The sequence of the first message that was stored at this time or later. As certain as [`Log::get`].
    async fn first_since(&self, time_ms: u64) -> Result<Option<u64>>;

    /// Changes when live copies may have been lost: a connection broke, a subscription overflowed.
    fn disturbances(&self) -> watch::Receiver<u64>;

    /// One stored message of any target, from where it is certainly known if it was acked.
    async fn get(&self, sequence: u64) -> Result<Option<LogEntry>>;

    /// The newest message of `target`. As certain as [`Log::get`].
    async fn last(&self, target: &Target) -> Result<Option<u64>>;

    /// Deletes the messages of `target` up to `upto` for good, and says how many went. What stands after them, and what
    /// other targets have, stays; live copies of what comes next still name the last message that stands before it, if one
    /// does.
    async fn purge(&self, target: &Target, upto: u64) -> Result<u64>;

    /// Which of `targets` have messages after `after`.
    async fn newer(&self, targets: &[Target], after: u64) -> Result<Newer>;
}

#[cfg(test)]
mod tests;
