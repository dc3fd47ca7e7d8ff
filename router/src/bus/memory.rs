//! The bus in memory: the embedded default, one process and nothing behind it. What it holds ends with the process, so
//! each start is a new log.

use std::sync::Arc;

use herald_proto::subject::Names;

use super::{Bus, BusError, EventLimits, LogLimits, Message, Result};

mod events;
mod kv;
mod log;
mod pubsub;

pub use events::MemoryEvents;
pub use kv::MemoryKv;
pub use log::MemoryLog;
pub use pubsub::MemoryPubSub;

/// As `deploy/nats.conf` has it, so that what works embedded works on a cluster too: twice the largest frame, with 1 MiB,
/// of all dialects by default. NATS' own default has no room for what is added to such a frame.
const MAX_PAYLOAD: usize = 2 << 20;

/// Headers count, as on NATS.
pub(super) fn check(message: &Message) -> Result<()> {
    let line = |(name, value): (&str, &str)| name.len() + value.len() + 4;
    let headers: usize = message.headers.iter().map(line).sum();
    if headers + message.payload.len() > MAX_PAYLOAD {
        return Err(BusError::TooLarge);
    }
    message.headers.check()
}

/// A new, empty bus. Watches and TTLs need a tokio runtime, the rest does not.
pub fn bus(limits: LogLimits) -> Bus {
    bus_with(limits, EventLimits::default(), Names::new("herald"))
}

/// `names` are those of the subjects on which events are published.
pub fn bus_with(limits: LogLimits, events: EventLimits, names: Names) -> Bus {
    let pubsub = Arc::new(MemoryPubSub::default());
    Bus {
        log: Arc::new(MemoryLog::new(limits)),
        kv: Arc::new(MemoryKv::new()),
        events: Arc::new(MemoryEvents::new(events, pubsub.clone(), names)),
        pubsub,
    }
}
