//! A consumer that reads a bucket in order, pulled in batches, so that it can never run over its subscription. The
//! ordered push consumer of the client library would: it sends up to megabytes unasked, thousands of small messages.

use std::time::Duration;

use async_nats::{Message, Subscriber, jetstream::stream::Info};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::super::{READ, Shared, error::ApiError};
use crate::bus::{BusError, Result};

/// Messages asked for at once. Two such pulls may be open, so that one is answered while the next is on its way; both
/// together are fewer than a subscription holds.
const BATCH: u64 = 480;
/// A pull that nothing answers ends after this, and is repeated.
const PULL: Duration = Duration::from_secs(30);
/// While nothing comes the server says every second that it is there; after three missed times it is not.
const HEARTBEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_millis(3_500);
/// The server drops a consumer that is not pulled from for this long.
const INACTIVE: Duration = Duration::from_secs(90);

pub(super) struct Consumer {
    shared: Shared,
    next_subject: String,
    inbox: String,
    subscriber: Subscriber,
    /// Messages that were asked for and are still to come, of both pulls.
    open: u64,
    delivered: u64,
    /// What waited when the consumer was made.
    pub(super) waiting: u64,
}

pub(super) struct Delivery {
    pub(super) message: Message,
    pub(super) sequence: u64,
    /// When it was stored, Unix nanoseconds.
    pub(super) stored_ns: u64,
    /// What waits behind it.
    pub(super) waiting: u64,
}

#[derive(Deserialize)]
struct Made {
    name: String,
    #[serde(default)]
    num_pending: u64,
}

pub(super) async fn stream_info(shared: &Shared, stream: &str) -> Result<Info, ApiError> {
    let subject = format!("STREAM.INFO.{stream}");
    shared.link.api(&subject, &json!({}), READ).await
}

impl Consumer {
    /// The last message of each subject that matches, and then every message.
    pub(super) async fn make(shared: &Shared, stream: &str, filters: &[String]) -> Result<Self, ApiError> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let question = json!({
            "stream_name": stream,
            "config": {
                "deliver_policy": "last_per_subject",
                "ack_policy": "none",
                "replay_policy": "instant",
                "filter_subjects": filters,
                "inactive_threshold": nanos(INACTIVE),
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        let inbox = shared.link.client().new_inbox();
        let subscriber = shared.link.subscribe(inbox.clone()).await?;
        let subject = format!("CONSUMER.CREATE.{stream}");
        let made: Made = shared.link.api(&subject, &question, READ).await?;
        Ok(Self {
            shared: shared.clone(),
            next_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", made.name),
            inbox,
            subscriber,
            open: 0,
            delivered: 0,
            waiting: made.num_pending,
        })
    }

    async fn pull(&mut self) -> Result<()> {
        let question = json!({
            "batch": BATCH,
            "expires": PULL.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let (subject, inbox) = (self.next_subject.clone(), self.inbox.clone());
        let question = Bytes::from(question.to_string());
        self.shared.link.publish_with_reply(subject, inbox, question).await?;
        self.open += BATCH;
        Ok(())
    }

    /// None: all that is there has come. Fails where the consumer, or its place, is lost. Not to be cancelled and called again: it may have pulled.
    pub(super) async fn next(&mut self) -> Result<Option<Delivery>> {
        loop {
            while self.open <= BATCH {
                self.pull().await?;
            }
            let end = Instant::now() + SILENCE;
            let message = match timeout_at(end, self.subscriber.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(lost("the client has ended")),
                Err(_) => return Err(lost("the server has fallen silent")),
            };
            match message.status.map(|status| status.as_u16()) {
                None => return self.delivery(message).map(Some),
                Some(100) => return self.heartbeat(&message),
                // A pull has run out.
                Some(408) => self.open = self.open.saturating_sub(left(&message)),
                Some(code) => return Err(lost(&format!("{code} {}", message.description.unwrap_or_default()))),
            }
        }
    }

    fn delivery(&mut self, message: Message) -> Result<Delivery> {
        let place = message.reply.as_deref().and_then(place);
        let place = place.ok_or_else(|| lost("a message without its place"))?;
        self.open = self.open.saturating_sub(1);
        self.delivered += 1;
        if place.delivered != self.delivered {
            return Err(lost("messages are missing"));
        }
        Ok(Delivery {
            sequence: place.sequence,
            stored_ns: place.stored_ns,
            waiting: place.waiting,
            message,
        })
    }

    fn heartbeat(&self, message: &Message) -> Result<Option<Delivery>> {
        let headers = message.headers.as_ref();
        let last = headers.and_then(|headers| headers.get("Nats-Last-Consumer"));
        match last.and_then(|last| last.as_str().parse::<u64>().ok()) {
            Some(last) if self.delivered != last => Err(lost("messages are missing")),
            _ => Ok(None),
        }
    }
}

/// What was still to come of a pull that has run out.
fn left(message: &Message) -> u64 {
    let headers = message.headers.as_ref();
    let left = headers.and_then(|headers| headers.get("Nats-Pending-Messages"));
    left.and_then(|left| left.as_str().parse().ok()).unwrap_or(BATCH)
}

fn lost(why: &str) -> BusError {
    BusError::Unavailable(why.to_owned())
}

/// Where a message stands, as its reply subject tells.
#[derive(Debug, PartialEq)]
struct Place {
    sequence: u64,
    delivered: u64,
    stored_ns: u64,
    waiting: u64,
}

/// `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<delivered>.<time>.<waiting>`, or the same with a domain and an
/// account in front of the stream and perhaps something random behind.
fn place(reply: &str) -> Option<Place> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let at = if tokens.len() >= 9 { 5 } else { 3 };
    let number = |offset: usize| tokens.get(at + offset)?.parse().ok();
    Some(Place {
        sequence: number(0)?,
        delivered: number(1)?,
        stored_ns: number(2)?,
        waiting: number(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_places_are_read() {
        let expected = Some(Place {
            sequence: 5,
            delivered: 2,
            stored_ns: 1_795_295_116_669_282_809,
            waiting: 7,
        });
        for reply in [
            "$JS.ACK.KV_B.2bl5Lfmi.1.5.2.1795295116669282809.7",
            "$JS.ACK.hub.ACCHASH.KV_B.2bl5Lfmi.1.5.2.1795295116669282809.7",
            "$JS.ACK.hub.ACCHASH.KV_B.2bl5Lfmi.1.5.2.1795295116669282809.7.random",
        ] {
            assert_eq!(place(reply), expected, "{reply}");
        }
        assert_eq!(place("_INBOX.a.b"), None);
    }
}
