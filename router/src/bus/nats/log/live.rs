//! Live copies: what the server republishes as it stores, and ephemeral messages between them.

use std::{future::ready, sync::Arc};

use async_nats::{
    HeaderMap, Message, Subscriber,
    header::{NATS_LAST_SEQUENCE, NATS_SEQUENCE, NATS_TIME_STAMP},
};
use futures_util::StreamExt;
use herald_proto::Target;
use tokio_util::task::AbortOnDropHandle;

use super::super::{Shared, time::unix_ms};
use crate::bus::{Beats, LiveCopy, LiveSink, LiveSubscription, Result, StoredAt};

/// One small task each: it must hold nothing but what `deliver` names, for there are tens of thousands.
pub(super) async fn subscribe(shared: &Shared, target: &Target, sink: Arc<dyn LiveSink>) -> Result<LiveSubscription> {
    let subject = shared.names.live(target);
    let subscriber = shared.link.subscribe(subject).await?;
    // Not tracked: it lives and ends with what is returned here. Ending it drops the subscriber, and that unsubscribes.
    let task = tokio::spawn(deliver(subscriber, target.clone(), sink));
    Ok(LiveSubscription {
        _held: Box::new(AbortOnDropHandle::new(task)),
    })
}

pub(super) async fn beats(shared: &Shared) -> Result<Beats> {
    let subscriber = shared.link.subscribe(shared.names.live_beat()).await?;
    // Only what the server has stored has a sequence.
    let stored = subscriber.filter_map(|message| ready(live_copy(message).stored.map(|stored| stored.sequence)));
    Ok(stored.boxed())
}

async fn deliver(mut subscriber: Subscriber, target: Target, sink: Arc<dyn LiveSink>) {
    while let Some(message) = subscriber.next().await {
        sink.live(&target, live_copy(message));
    }
}

fn live_copy(message: Message) -> LiveCopy {
    LiveCopy {
        stored: message.headers.as_ref().and_then(stored_at),
        payload: message.payload,
    }
}

/// None for an ephemeral message: only the server adds a sequence.
fn stored_at(headers: &HeaderMap) -> Option<StoredAt> {
    let number = |name| headers.get(name)?.as_str().parse().ok();
    Some(StoredAt {
        sequence: number(NATS_SEQUENCE)?,
        previous: number(NATS_LAST_SEQUENCE).unwrap_or_default(),
        time_ms: unix_ms(headers.get(NATS_TIME_STAMP)?.as_str())?,
    })
}
