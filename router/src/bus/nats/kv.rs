//! Buckets, in the layout of NATS' own key-value stores: one stream each, one subject per key, history 1.

use std::time::Duration;

use async_nats::{
    HeaderMap, Message,
    header::NATS_SEQUENCE,
    jetstream::{message::StreamMessage, stream::RawMessage},
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{READ, Shared, ack::Repeat, error::ApiError, streams};
use crate::bus::{Bucket, BusError, Entry, Kv, Result, Selection, Standing, Version, Watch};

mod consumer;
mod select;
mod standing;
mod watch;

const OPERATION: &str = "KV-Operation";
const MARKER_REASON: &str = "Nats-Marker-Reason";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const ROLLUP: &str = "Nats-Rollup";
const TTL: &str = "Nats-TTL";
/// Between finding the trace of a deleted key and writing over it, that trace may end.
const CREATE_TRIES: usize = 3;

pub(super) struct NatsKv {
    shared: Shared,
}

/// Whether a message tells that its key is gone: deleted by us, or run out.
fn is_marker(headers: &HeaderMap) -> bool {
    headers.get(OPERATION).is_some() || headers.get(MARKER_REASON).is_some()
}

/// The subjects of a prefix' keys under a bucket's subject: of the key that is the prefix, and of those beneath it.
fn filters(bucket: &str, prefix: &str) -> Vec<String> {
    if prefix.is_empty() {
        return vec![format!("{bucket}>")];
    }
    vec![format!("{bucket}{prefix}"), format!("{bucket}{prefix}.>")]
}

/// NATS takes whole seconds, at least one.
fn ttl_header(ttl: Duration) -> String {
    format!("{}s", ttl.as_millis().div_ceil(1_000).max(1))
}

/// A key's last message at the leader.
struct Last {
    message: StreamMessage,
    marker: bool,
}

impl NatsKv {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    fn stream(&self, bucket: Bucket) -> String {
        streams::bucket_stream(&self.shared.names, bucket)
    }

    fn subject(&self, bucket: Bucket, key: &str) -> String {
        format!("{}{key}", streams::bucket_subject(&self.shared.names, bucket))
    }

    async fn write(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        expected: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        let mut headers = HeaderMap::new();
        if let Some(expected) = expected {
            headers.insert(EXPECTED, expected.to_string());
        }
        if let Some(ttl) = ttl {
            headers.insert(TTL, ttl_header(ttl));
        }
        let headers = (!headers.is_empty()).then_some(headers);
        // Repeating a compare-and-set of unknown outcome would meet its own revision.
        let repeat = match expected {
            Some(_) => Repeat::Never,
            None => Repeat::Once,
        };
        let subject = self.subject(bucket, key);
        Ok(self.shared.store(subject, headers, value, repeat).await?.seq)
    }

    /// Writes the trace that a key is gone.
    async fn mark(&self, bucket: Bucket, key: &str, expected: Option<u64>) -> Result<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "PURGE");
        headers.insert(ROLLUP, "sub");
        headers.insert(TTL, ttl_header(streams::MARKER));
        let mut repeat = Repeat::Once;
        if let Some(expected) = expected {
            headers.insert(EXPECTED, expected.to_string());
            repeat = Repeat::Never;
        }
        let subject = self.subject(bucket, key);
        Ok(self
            .shared
            .store(subject, Some(headers), Bytes::new(), repeat)
            .await?
            .seq)
    }

    async fn last(&self, bucket: Bucket, key: &str) -> Result<Option<Last>> {
        #[derive(Deserialize)]
        struct Found {
            message: RawMessage,
        }
        let subject = format!("STREAM.MSG.GET.{}", self.stream(bucket));
        let question = json!({ "last_by_subj": self.subject(bucket, key) });
        let found: Found = match self.shared.link.api(&subject, &question, READ).await {
            Ok(found) => found,
            Err(ApiError::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let message = StreamMessage::try_from(found.message).map_err(|error| BusError::Refused(error.to_string()))?;
        Ok(Some(Last {
            marker: is_marker(&message.headers),
            message,
        }))
    }
}

fn near(message: Message) -> Result<Option<Entry>> {
    match message.status.map(|status| status.as_u16()) {
        None => {}
        Some(404) => return Ok(None),
        Some(code) => {
            return Err(BusError::Refused(format!(
                "{code} {}",
                message.description.unwrap_or_default()
            )));
        }
    }
    let headers = message.headers.unwrap_or_default();
    if is_marker(&headers) {
        return Ok(None);
    }
    let revision = headers
        .get(NATS_SEQUENCE)
        .and_then(|value| value.as_str().parse().ok())
        .ok_or_else(|| BusError::Refused("a stored value has no sequence".to_owned()))?;
    Ok(Some(Entry {
        value: message.payload,
        revision,
    }))
}

#[async_trait]
impl Kv for NatsKv {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        let (stream, key) = (self.stream(bucket), self.subject(bucket, key));
        let subject = format!("$JS.API.DIRECT.GET.{stream}.{key}");
        match self.shared.link.request(subject, None, Bytes::new(), READ).await {
            Ok(message) => near(message),
            Err(BusError::NoResponders) => Err(ApiError::no_leader().into()),
            Err(error) => Err(error),
        }
    }

    async fn get_latest(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>> {
        let last = self.last(bucket, key).await?;
        Ok(last.filter(|last| !last.marker).map(|last| Entry {
            value: last.message.payload,
            revision: last.message.sequence,
        }))
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        self.write(bucket, key, value, None, ttl).await
    }

    async fn create(&self, bucket: Bucket, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<u64> {
        let mut expected = 0;
        for _ in 0..CREATE_TRIES {
            match self.write(bucket, key, value.clone(), Some(expected), ttl).await {
                Err(BusError::Conflict) => {}
                done => return done,
            }
            expected = match self.last(bucket, key).await? {
                Some(last) if last.marker => last.message.sequence,
                Some(_) => break,
                None => 0,
            };
        }
        Err(BusError::Conflict)
    }

    async fn update(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        if revision == 0 {
            // To NATS that would mean: create.
            return Err(BusError::Conflict);
        }
        self.write(bucket, key, value, Some(revision), ttl).await
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<()> {
        self.mark(bucket, key, None).await.map(drop)
    }

    async fn look(&self, bucket: Bucket, key: &str) -> Result<Standing> {
        Ok(match self.last(bucket, key).await? {
            None => Standing::Gone(0),
            Some(last) if last.marker => Standing::Gone(last.message.sequence),
            Some(last) => Standing::Value(Entry {
                value: last.message.payload,
                revision: last.message.sequence,
            }),
        })
    }

    async fn change(&self, bucket: Bucket, key: &str, value: Option<Bytes>, seen: Version) -> Result<u64> {
        let expected = Some(seen.revision());
        match value {
            Some(value) => self.write(bucket, key, value, expected, None).await,
            // Also where nothing stood: only what is stored proves it.
            None => self.mark(bucket, key, expected).await,
        }
    }

    async fn select(&self, bucket: Bucket, prefixes: &[String]) -> Result<Selection> {
        self.select_near(bucket, prefixes).await
    }

    async fn purge(&self, bucket: Bucket, pattern: &str) -> Result<u64> {
        #[derive(Deserialize)]
        struct Gone {
            purged: u64,
        }
        let subject = format!("STREAM.PURGE.{}", self.stream(bucket));
        let question = json!({ "filter": self.subject(bucket, pattern) });
        let gone: Gone = self.shared.link.api(&subject, &question, READ).await?;
        Ok(gone.purged)
    }

    async fn watch(&self, bucket: Bucket, prefix: &str) -> Result<Watch> {
        Ok(watch::begin(&self.shared, bucket, prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_are_whole_seconds_and_never_shorter() {
        for (ms, expected) in [(1, "1s"), (1_000, "1s"), (1_001, "2s"), (10_000, "10s")] {
            assert_eq!(ttl_header(Duration::from_millis(ms)), expected);
        }
    }
}
