//! Reading what is stored: pages from any replica, single messages from the leader.

use async_nats::{
    Message,
    header::{NATS_SEQUENCE, NATS_TIME_STAMP},
    jetstream::{message::StreamMessage, stream::RawMessage},
};
use herald_proto::Target;
use serde::Deserialize;
use serde_json::json;

use super::{
    super::{
        READ,
        direct::{Answer, BATCH_BYTES, answer},
        error::ApiError,
        time::{rfc3339, unix_ms},
    },
    NatsLog,
};
use crate::bus::{BusError, LogEntry, Page, Result};

/// Messages of one answer: they come without flow control, so fewer than a subscription holds.
pub(super) const BATCH: usize = 500;
fn entry(message: Message) -> Option<LogEntry> {
    let headers = message.headers?;
    Some(LogEntry {
        sequence: headers.get(NATS_SEQUENCE)?.as_str().parse().ok()?,
        time_ms: unix_ms(headers.get(NATS_TIME_STAMP)?.as_str())?,
        payload: message.payload,
    })
}

#[derive(Deserialize)]
struct Found {
    message: RawMessage,
}

impl NatsLog {
    pub(super) async fn read_pages(&self, target: &Target, after: u64, limit: usize) -> Result<Page> {
        let mut page = Page::default();
        let mut after = after;
        while page.entries.len() < limit {
            let batch = BATCH.min(limit - page.entries.len());
            page.left = self.batch(target, after, batch, &mut page.entries).await?;
            match page.entries.last().map(|entry: &LogEntry| entry.sequence) {
                Some(last) if page.left > 0 && last > after => after = last,
                _ => break,
            }
        }
        Ok(page)
    }

    /// Appends one batch to `entries`; how many match beyond it.
    pub(super) async fn batch(
        &self,
        target: &Target,
        after: u64,
        batch: usize,
        entries: &mut Vec<LogEntry>,
    ) -> Result<u64> {
        let question = json!({
            "seq": after.saturating_add(1),
            "next_by_subj": self.shared.names.log(target),
            "batch": batch,
            // A single message larger than this would never come.
            "max_bytes": BATCH_BYTES.max(self.shared.link.client().max_payload()),
        });
        let link = &self.shared.link;
        let mut answers = link.ask(self.direct_get(), &question, READ).await?;
        loop {
            match answer(answers.next().await?)? {
                Answer::Message(message) => entries.push(
                    entry(message).ok_or_else(|| BusError::Refused("a stored message has no sequence".to_owned()))?,
                ),
                Answer::End { left, .. } => return Ok(left),
                // Here "message not found" is the first answer or none: the server ends a batch that it began.
                Answer::Nothing | Answer::BrokenOff => return Ok(0),
            }
        }
    }

    pub(super) async fn get_from_leader(&self, sequence: u64) -> Result<Option<LogEntry>> {
        self.one_from_leader(json!({ "seq": sequence })).await
    }

    pub(super) async fn first_from_leader(&self, time_ms: u64) -> Result<Option<u64>> {
        let question = json!({ "start_time": rfc3339(time_ms), "next_by_subj": self.shared.names.log_subjects() });
        Ok(self.one_from_leader(question).await?.map(|entry| entry.sequence))
    }

    pub(super) async fn last_from_leader(&self, target: &Target) -> Result<Option<u64>> {
        let question = json!({ "last_by_subj": self.shared.names.log(target) });
        Ok(self.one_from_leader(question).await?.map(|entry| entry.sequence))
    }

    async fn one_from_leader(&self, question: serde_json::Value) -> Result<Option<LogEntry>> {
        let subject = format!("STREAM.MSG.GET.{}", self.shared.names.log_stream());
        let asked = self.shared.link.api(&subject, &question, READ);
        let found: Found = match asked.await {
            Ok(found) => found,
            Err(ApiError::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let message = StreamMessage::try_from(found.message).map_err(|error| BusError::Refused(error.to_string()))?;
        let time_ms = message.time.unix_timestamp_nanos() / 1_000_000;
        Ok(Some(LogEntry {
            payload: message.payload,
            sequence: message.sequence,
            time_ms: u64::try_from(time_ms).unwrap_or_default(),
        }))
    }
}
