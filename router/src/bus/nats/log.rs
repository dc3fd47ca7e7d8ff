//! The log: one stream, one subject per target.

use std::sync::Arc;

use async_nats::{HeaderMap, HeaderValue};
use async_trait::async_trait;
use bytes::Bytes;
use herald_proto::{LogId, Target};
use tokio::sync::watch;

use super::{Shared, ack::Repeat};
use crate::bus::{Appended, Beats, Bounds, BusError, LiveSink, LiveSubscription, Log, LogEntry, Newer, Page, Result};

mod anchor;
mod back;
mod bounds;
mod live;
mod newer;
mod purge;
mod read;

pub(super) struct NatsLog {
    shared: Shared,
    id: watch::Receiver<Option<LogId>>,
    anchored: anchor::Anchored,
}

impl NatsLog {
    pub(super) fn new(shared: Shared, id: watch::Receiver<Option<LogId>>) -> Self {
        Self {
            shared,
            id,
            anchored: anchor::Anchored::default(),
        }
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
            uncertain: ack.repeated || ack.duplicate,
        })
    }

    async fn beat(&self) -> Result<()> {
        // Before the beat, so that the first message of all is an anchor.
        let anchored = self.keep_anchored().await;
        let beat = self.shared.names.beat();
        self.shared.store(beat, None, Bytes::new(), Repeat::Never).await?;
        anchored
    }

    async fn beats(&self) -> Result<Beats> {
        live::beats(&self.shared).await
    }

    async fn publish_ephemeral(&self, target: &Target, payload: Bytes) -> Result<()> {
        let subject = self.shared.names.live(target);
        self.shared.link.publish(subject, payload).await
    }

    async fn subscribe(&self, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription> {
        live::subscribe(&self.shared, target, sink).await
    }

    async fn read(&self, target: &Target, after: u64, limit: usize) -> Result<Page> {
        self.read_pages(target, after, limit).await
    }

    async fn read_back(&self, target: &Target, before: u64, limit: usize) -> Result<Page> {
        self.read_backwards(target, before, limit).await
    }

    async fn bounds(&self) -> Result<Bounds> {
        self.stream_bounds().await
    }

    async fn first_since(&self, time_ms: u64) -> Result<Option<u64>> {
        self.first_from_leader(time_ms).await
    }

    fn disturbances(&self) -> watch::Receiver<u64> {
        self.shared.disturbed.subscribe()
    }

    async fn get(&self, sequence: u64) -> Result<Option<LogEntry>> {
        self.get_from_leader(sequence).await
    }

    async fn last(&self, target: &Target) -> Result<Option<u64>> {
        self.last_from_leader(target).await
    }

    async fn purge(&self, target: &Target, upto: u64) -> Result<u64> {
        self.purge_target(target, upto).await
    }

    async fn newer(&self, targets: &[Target], after: u64) -> Result<Newer> {
        self.newer_in_chunks(targets, after).await
    }
}
