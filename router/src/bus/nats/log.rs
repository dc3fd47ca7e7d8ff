//! The log: one stream, one subject per target.

use std::sync::Arc;

use async_nats::{HeaderMap, HeaderValue};
use async_trait::async_trait;
use bytes::Bytes;
use herald_proto::{LogId, Target};
use tokio::sync::watch;

use super::{Shared, ack::Repeat};
use crate::bus::{Appended, BusError, LiveSink, LiveSubscription, Log, LogEntry, Newer, Result};

mod live;
mod newer;
mod read;

pub(super) struct NatsLog {
    shared: Shared,
    id: watch::Receiver<Option<LogId>>,
}

impl NatsLog {
    pub(super) fn new(shared: Shared, id: watch::Receiver<Option<LogId>>) -> Self {
        Self { shared, id }
    }

    /// Where any replica answers.
    fn direct_get(&self) -> String {
        format!("$JS.API.DIRECT.GET.{}", self.shared.names.log_stream())
    }
}

#[async_trait]
impl Log for NatsLog {
    fn id(&self) -> watch::Receiver<Option<LogId>> {
        self.id.clone()
    }

    async fn append(&self, target: &Target, payload: Bytes, dedup: &str) -> Result<Appended> {
        let mut headers = HeaderMap::new();
        let dedup: HeaderValue = dedup
            .parse()
            .map_err(|_| BusError::Refused("a dedup id holds no line breaks".to_owned()))?;
        headers.insert(async_nats::header::NATS_MESSAGE_ID, dedup);
        let subject = self.shared.names.log(target);
        let ack = self.shared.store(subject, Some(headers), payload, Repeat::Once).await?;
        Ok(Appended {
            sequence: ack.seq,
            duplicate: ack.duplicate,
        })
    }

    async fn beat(&self) -> Result<()> {
        let beat = self.shared.names.beat();
        self.shared.store(beat, None, Bytes::new(), Repeat::Never).await?;
        Ok(())
    }

    async fn publish_ephemeral(&self, target: &Target, payload: Bytes) -> Result<()> {
        let subject = self.shared.names.live(target);
        self.shared.link.publish(subject, payload).await
    }

    async fn subscribe(&self, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription> {
        live::subscribe(&self.shared, target, sink).await
    }

    async fn read(&self, target: &Target, after: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.read_pages(target, after, limit).await
    }

    async fn get(&self, sequence: u64) -> Result<Option<LogEntry>> {
        self.get_from_leader(sequence).await
    }

    async fn newer(&self, targets: &[Target], after: u64) -> Result<Newer> {
        self.newer_in_chunks(targets, after).await
    }
}
