//! Publishing to a stream, until it is stored.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use herald_proto::limits::APPEND;
use rand::Rng;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{Shared, error::ApiError};
use crate::bus::{BusError, Result};

/// While a leader is elected nobody answers; asking again costs little.
const PAUSE_MS: std::ops::Range<u64> = 50..150;

#[derive(Debug, Deserialize)]
pub(super) struct Ack {
    pub(super) seq: u64,
    #[serde(default)]
    pub(super) duplicate: bool,
    /// It was asked for more than once.
    #[serde(skip)]
    pub(super) repeated: bool,
}

/// Whether a publish may be repeated when its outcome is unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It carries a dedup id.
    Once,
    Never,
}

impl Shared {
    /// Publishes `payload` to a stream. Within the deadline it asks again while the stream has no leader, for then
    /// nothing was stored; and, where repeating is safe, once where no answer came.
    pub(super) async fn store(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        repeat: Repeat,
    ) -> Result<Ack> {
        let end = Instant::now() + APPEND;
        let mut may_repeat = repeat == Repeat::Once;
        let mut repeated = false;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let patience = if may_repeat { APPEND.min(left) / 2 } else { left };
            let asked = self
                .link
                .request(subject.clone(), headers.clone(), payload.clone(), patience);
            let away = match asked.await {
                Ok(answer) => match ApiError::or::<Ack>(&answer.payload) {
                    Err(ApiError::Away(what)) => what,
                    done => return Ok(Ack { repeated, ..done? }),
                },
                Err(BusError::NoResponders) => "nobody leads the stream".to_owned(),
                Err(BusError::Timeout) if may_repeat => {
                    may_repeat = false;
                    repeated = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let pause = Duration::from_millis(rand::rng().random_range(PAUSE_MS));
            if Instant::now() + pause >= end {
                return Err(BusError::Unavailable(away));
            }
            // Not only elections look like this: the stream may have been deleted.
            self.look.notify_one();
            sleep(pause).await;
            repeated = true;
        }
    }
}
