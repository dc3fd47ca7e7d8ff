//! What the stream has kept.

use async_nats::jetstream::stream::Info;
use serde_json::json;

use super::{
    super::{READ, kept},
    NatsLog,
};
use crate::bus::{Bounds, Result};

impl NatsLog {
    /// The stream's leader answers. Routers keep anchors (see `anchor.rs`): so the stream's first message is gone only by
    /// age, for want of room, or by somebody's hand.
    pub(super) async fn stream_bounds(&self) -> Result<Bounds> {
        let subject = format!("STREAM.INFO.{}", self.shared.names.log_stream());
        let info: Info = self.shared.link.api(&subject, &json!({}), READ).await?;
        Ok(Bounds {
            first: info.state.first_sequence,
            last: info.state.last_sequence,
            last_ms: u64::try_from(info.state.last_timestamp.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
            per_target: kept::limit(&info.config),
            earlier: kept::earlier(&info),
        })
    }
}
