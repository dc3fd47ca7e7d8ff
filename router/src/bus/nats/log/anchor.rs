//! Anchors: messages that no limit per target removes, so that the stream's first sequence tells what is gone by age, for
//! want of room, or by somebody's hand, and nothing else.

use async_nats::{HeaderMap, header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bytes::Bytes;
use herald_proto::{LogId, id};
use parking_lot::Mutex;

use super::{super::ack::Repeat, NatsLog};
use crate::bus::{BusError, Result};

/// Often enough that there is always one while messages are kept for days, seldom enough to be nothing among them.
const EVERY_MS: u64 = 3_600_000;

/// The log and the hour of the last anchor that is known to stand.
#[derive(Default)]
pub(super) struct Anchored(Mutex<Option<(LogId, u64)>>);

impl NatsLog {
    /// Sees to it that this hour has its anchor. One that somebody purges is not missed before the next hour: until then
    /// more may seem to be gone than is.
    pub(super) async fn keep_anchored(&self) -> Result<()> {
        // A log made anew has none, though this hour had one.
        let Some(log) = self.id.borrow().clone() else {
            return Ok(());
        };
        let now = Some((log, id::now_ms() / EVERY_MS));
        if *self.anchored.0.lock() == now {
            return Ok(());
        }
        if let Some((_, hour)) = &now {
            self.anchor(*hour).await?;
        }
        *self.anchored.0.lock() = now;
        Ok(())
    }

    async fn anchor(&self, hour: u64) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let subject = self.shared.names.anchor(hour);
        let stored = self.shared.store(subject, Some(headers), Bytes::new(), Repeat::Once);
        match stored.await {
            // Another router was first, or this one before an answer was lost.
            Ok(_) | Err(BusError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
