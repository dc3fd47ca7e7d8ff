//! The first capability: publish and subscribe, request and reply.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{BusError, Headers, Message, Result, memory, nats};

/// Whether the bus can be used now. Changes are seen through [`PubSub::state`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusState {
    /// Never connected so far, or its streams and buckets are not there yet.
    Starting,
    Ready,
    /// The connection is lost; it comes back by itself.
    Lost,
}

/// One request to a served subject.
#[derive(Debug)]
pub struct Request {
    /// The subject it was sent to.
    pub subject: String,
    pub headers: Headers,
    pub payload: Bytes,
    pub reply: Reply,
}

/// Where the answer goes. Dropping it leaves the asker to its deadline.
pub struct Reply(pub(crate) ReplyTo);

pub(crate) enum ReplyTo {
    /// Shared by all who may answer; the first does.
    Memory(Arc<Mutex<Option<oneshot::Sender<Message>>>>),
    /// Nobody asked: a plain message.
    Nowhere,
    Nats {
        client: Arc<async_nats::Client>,
        subject: async_nats::Subject,
    },
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl Reply {
    /// Fails where the bus is gone or the answer too large; an asker that no longer waits is no error.
    pub async fn send(self, payload: Bytes) -> Result<()> {
        self.send_message(payload.into()).await
    }

    /// The same with headers.
    pub async fn send_message(self, message: Message) -> Result<()> {
        match self.0 {
            ReplyTo::Nowhere => Ok(()),
            ReplyTo::Memory(asker) => {
                memory::check(&message)?;
                if let Some(asker) = asker.lock().take() {
                    // One who has given up knows it from its own deadline.
                    let _ = asker.send(message);
                }
                Ok(())
            }
            ReplyTo::Nats { client, subject } => {
                // The client would keep it for the next connection, where nobody waits for it any more.
                if client.connection_state() != async_nats::connection::State::Connected {
                    return Err(BusError::Unavailable("not connected to NATS".to_owned()));
                }
                if message.headers.is_empty() {
                    return Ok(client.publish(subject, message.payload).await?);
                }
                let headers = nats::header_map(&message.headers)?;
                Ok(client.publish_with_headers(subject, headers, message.payload).await?)
            }
        }
    }
}

/// Where a subscription's messages come from. Dropping it ends the subscription.
#[async_trait]
pub(crate) trait Source: Send {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Request>>;

    async fn unsubscribe(&mut self);
}

/// A subscription's messages. Dropping it ends the subscription.
pub struct Requests(pub(crate) Box<dyn Source>);

impl Requests {
    pub async fn next(&mut self) -> Option<Request> {
        poll_fn(|cx| self.0.poll_next(cx)).await
    }

    /// What has come already, without waiting. Whatever came to this process before a request that it has received,
    /// by whichever subscription, is seen.
    pub fn try_next(&mut self) -> Option<Request> {
        // Not refused for having done much in one turn: None means that nothing is there.
        let next = tokio::task::unconstrained(self.next());
        next.now_or_never().flatten()
    }

    /// No new requests; those under way still come, then `next` ends.
    pub async fn unsubscribe(&mut self) {
        self.0.unsubscribe().await;
    }
}

#[async_trait]
pub trait PubSub: Send + Sync {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<()>;

    /// Everything published to `subject` (NATS wildcards allowed) from now on. Requests count as messages.
    async fn subscribe(&self, subject: &str) -> Result<Requests>;

    /// Requests to `subject`, each to one member of `queue` only.
    async fn queue_subscribe(&self, subject: &str, queue: &str) -> Result<Requests>;

    /// Asks whoever serves `subject`. Without anybody: `NoResponders`, at once.
    async fn request(&self, subject: &str, payload: Bytes, deadline: Duration) -> Result<Bytes>;

    /// The same with headers both ways, and nothing stays behind where the future is dropped or nobody answers. What is
    /// answered late, or twice, is dropped.
    async fn call(&self, subject: &str, message: Message, deadline: Duration) -> Result<Message>;

    /// Returns once everything that this process sent before, subscriptions included, has been taken in by the server
    /// that it is connected to. Other servers of a cluster may learn of a subscription some milliseconds later. Subscriptions to
    /// live copies need it not: making one waits for as much.
    async fn fence(&self) -> Result<()>;

    fn state(&self) -> watch::Receiver<BusState>;

    /// The largest message, headers included: beyond it all is `TooLarge`. On NATS as the server said at the last connect.
    fn max_payload(&self) -> usize;

    /// What keeps the bus from being ready, where more is known than that there is no connection; a short line.
    fn trouble(&self) -> Option<String> {
        None
    }
}
