//! The fourth capability: what happened, for the application. Kept apart from the log, in one order of all, and read by those
//! who deliver it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;

/// How much is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct EventLimits {
    pub max_age: Duration,
    pub max_bytes: u64,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(24 * 3600),
            max_bytes: 256 << 20,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventEntry {
    pub sequence: u64,
    /// The last token of its subject.
    pub kind: String,
    pub payload: Bytes,
}

/// Where what is kept begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBounds {
    /// Another one where the events were emptied: sequences begin anew.
    pub epoch: String,
    pub first: u64,
    pub last: u64,
}

#[async_trait]
pub trait Events: Send + Sync {
    /// Stores an event, once under its id, and publishes it to the subject of its kind. `Unavailable` and `Timeout` leave the
    /// outcome unknown: try again under the same id.
    async fn publish(&self, kind: &str, id: &str, payload: Bytes) -> Result<()>;

    /// Up to `limit` events after `after`, ascending. May lag some milliseconds behind what was published, never skips.
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<EventEntry>>;

    async fn bounds(&self) -> Result<EventBounds>;

    /// The sequence of the first event that was stored at this time or later; None: there is none yet.
    async fn first_since(&self, time_ms: u64) -> Result<Option<u64>>;

    /// What could not be delivered to this hook is put aside, for somebody to look at.
    async fn park(&self, hook: &str, id: &str, payload: Bytes) -> Result<()>;
}
