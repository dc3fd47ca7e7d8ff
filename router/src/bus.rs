//! The bus: the one seam between Herald and what carries its messages.
//!
//! Four small capabilities, [`PubSub`], [`Log`], [`Kv`] and [`Events`], each with an implementation in memory (the embedded default)
//! and one over NATS. `tests/tests/bus.rs` holds both to the same promises. Callers use these and nothing beneath them.

use std::{borrow::Cow, sync::Arc};

mod events;
pub mod fault;
mod kv;
mod log;
pub mod memory;
mod message;
pub mod nats;
mod pubsub;

pub use events::{EventBounds, EventEntry, EventLimits, Events};
pub use kv::{Bucket, Entry, Kv, KvEvent, Selection, Standing, Version, Watch};
pub use log::{
    Appended, Beats, Bounds, Earlier, LiveCopy, LiveSink, LiveSubscription, Log, LogEntry, LogLimits, Newer, Page,
    StoredAt,
};
pub use message::{Headers, Message};
pub use pubsub::{BusState, PubSub, Reply, Request, Requests};
pub(crate) use pubsub::{ReplyTo, Source};

/// A handle to all four capabilities; cloning is cheap.
#[derive(Clone)]
pub struct Bus {
    pub pubsub: Arc<dyn PubSub>,
    pub log: Arc<dyn Log>,
    pub kv: Arc<dyn Kv>,
    pub events: Arc<dyn Events>,
}

impl Bus {
    /// Err says why it cannot be used now.
    pub fn check(&self) -> Result<(), Cow<'static, str>> {
        if *self.pubsub.state().borrow() == BusState::Ready {
            return Ok(());
        }
        let trouble = self.pubsub.trouble();
        Err(trouble.map_or("no connection to NATS".into(), Into::into))
    }
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
