//! Events: one stream, one subject per kind; and another stream for what could not be delivered.

use async_nats::{
    HeaderMap, HeaderValue,
    header::{NATS_MESSAGE_ID, NATS_SEQUENCE, NATS_SUBJECT},
    jetstream::stream::Info,
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    READ, Shared,
    ack::Repeat,
    direct::{Answer, BATCH_BYTES, answer},
    error::ApiError,
    time::rfc3339,
};
use crate::bus::{BusError, EventBounds, EventEntry, Events, Result};

pub(super) struct NatsEvents {
    shared: Shared,
}

impl NatsEvents {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    async fn store(&self, subject: String, id: &str, payload: Bytes) -> Result<()> {
        let mut headers = HeaderMap::new();
        let id: HeaderValue = id
            .parse()
            .map_err(|_| BusError::Refused("an event's id holds no line breaks".to_owned()))?;
        headers.insert(NATS_MESSAGE_ID, id);
        self.shared.store(subject, Some(headers), payload, Repeat::Once).await?;
        Ok(())
    }
}

#[async_trait]
impl Events for NatsEvents {
    async fn publish(&self, kind: &str, id: &str, payload: Bytes) -> Result<()> {
        self.store(self.shared.names.event(kind), id, payload).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<EventEntry>> {
        let question = json!({
            "seq": after.saturating_add(1),
            "next_by_subj": self.shared.names.event(">"),
            "batch": limit,
            "max_bytes": BATCH_BYTES.max(self.shared.link.client().max_payload()),
        });
        let subject = format!("$JS.API.DIRECT.GET.{}", self.shared.names.event_stream());
        let mut answers = self.shared.link.ask(subject, &question, READ).await?;
        let mut entries = Vec::new();
        loop {
            match answer(answers.next().await?)? {
                Answer::Message(message) => {
                    let headers = message.headers.unwrap_or_default();
                    let sequence = headers.get(NATS_SEQUENCE).and_then(|value| value.as_str().parse().ok());
                    let kind = headers
                        .get(NATS_SUBJECT)
                        .and_then(|subject| subject.as_str().rsplit('.').next());
                    let (Some(sequence), Some(kind)) = (sequence, kind) else {
                        return Err(BusError::Refused("a stored event has no sequence".to_owned()));
                    };
                    entries.push(EventEntry {
                        sequence,
                        kind: kind.to_owned(),
                        payload: message.payload,
                    });
                }
                Answer::End { .. } | Answer::Nothing | Answer::BrokenOff => return Ok(entries),
            }
        }
    }

    async fn bounds(&self) -> Result<EventBounds> {
        let subject = format!("STREAM.INFO.{}", self.shared.names.event_stream());
        let info: Info = self.shared.link.api(&subject, &json!({}), READ).await?;
        Ok(EventBounds {
            epoch: format!("{:x}", info.created.unix_timestamp_nanos()),
            first: info.state.first_sequence,
            last: info.state.last_sequence,
        })
    }

    async fn first_since(&self, time_ms: u64) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Found {
            message: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            seq: u64,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.shared.names.event_stream());
        let question = json!({ "start_time": rfc3339(time_ms), "next_by_subj": self.shared.names.event(">") });
        match self.shared.link.api::<Found>(&subject, &question, READ).await {
            Ok(found) => Ok(Some(found.message.seq)),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn park(&self, hook: &str, id: &str, payload: Bytes) -> Result<()> {
        self.store(self.shared.names.parked(hook), id, payload).await
    }
}
