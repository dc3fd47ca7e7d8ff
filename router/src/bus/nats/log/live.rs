//! Live copies: what the server republishes as it stores, and ephemeral messages between them.

use std::sync::Arc;

use futures_util::StreamExt;
use herald_proto::Target;
use tokio::sync::mpsc;

use super::super::Shared;
use crate::bus::{Beats, LiveSink, LiveSubscription, Result};

/// Beats that nobody has heard yet; those beyond tell nothing more.
const BEATS: usize = 8;

pub(super) async fn subscribe(shared: &Shared, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription> {
    let subject = shared.names.live(target);
    let target = target.clone();
    let subscribed = shared.wire.subscribe(subject, move |copy| sink.live(&target, copy));
    Ok(LiveSubscription {
        _held: Box::new(subscribed.await?),
    })
}

pub(super) async fn beats(shared: &Shared) -> Result<Beats> {
    let (heard, beats) = mpsc::channel(BEATS);
    let hear = move |copy: crate::bus::LiveCopy| {
        // Only what the server has stored has a sequence.
        if let Some(stored) = copy.stored {
            let _or_not_needed = heard.try_send(stored.sequence).is_ok();
        }
    };
    let held = shared.wire.subscribe(shared.names.live_beat(), hear).await?;
    let next = |(mut beats, held): (mpsc::Receiver<u64>, _)| async move {
        let beat = beats.recv().await?;
        Some((beat, (beats, held)))
    };
    Ok(futures_util::stream::unfold((beats, held), next).boxed())
}
