//! Requests and messages of core NATS.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_nats::{Client, Message, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{READ, Shared, calls::Calls, headers};
use crate::bus::{self, BusError, BusState, PubSub, Reply, ReplyTo, Request, Requests, Result, Source};

pub(super) struct NatsPubSub {
    shared: Shared,
    state: watch::Receiver<BusState>,
    calls: Calls,
}

impl NatsPubSub {
    pub(super) fn new(shared: Shared, state: watch::Receiver<BusState>) -> Self {
        let calls = Calls::new(shared.clone());
        Self { shared, state, calls }
    }

    fn requests(&self, subscriber: Subscriber) -> Requests {
        Requests(Box::new(Subscription {
            subscriber,
            client: self.shared.link.client().clone(),
            shutdown: Box::pin(self.shared.shutdown.clone().cancelled_owned()),
        }))
    }
}

/// Taken straight from the client, whose one task hands messages out in the order in which they came.
struct Subscription {
    subscriber: Subscriber,
    client: Arc<Client>,
    /// The client itself would not end while NATS is away.
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
}

#[async_trait]
impl Source for Subscription {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Request>> {
        if self.shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let next = self.subscriber.poll_next_unpin(cx);
        next.map(|message| message.map(|message| request(message, &self.client)))
    }

    /// The client ends the stream once the server has been told; what came before is still handed over.
    async fn unsubscribe(&mut self) {
        if let Err(error) = self.subscriber.drain().await {
            tracing::debug!(%error, "the client has ended");
        }
    }
}

fn request(message: Message, client: &Arc<Client>) -> Request {
    let reply = match message.reply {
        Some(subject) => ReplyTo::Nats {
            client: client.clone(),
            subject,
        },
        None => ReplyTo::Nowhere,
    };
    Request {
        subject: message.subject.into_string(),
        headers: message.headers.as_ref().map(headers::from_map).unwrap_or_default(),
        payload: message.payload,
        reply: Reply(reply),
    }
}

#[async_trait]
impl PubSub for NatsPubSub {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<()> {
        self.shared.link.publish(subject.to_owned(), payload).await
    }

    async fn subscribe(&self, subject: &str) -> Result<Requests> {
        let subscriber = self.shared.link.subscribe(subject.to_owned()).await?;
        Ok(self.requests(subscriber))
    }

    async fn queue_subscribe(&self, subject: &str, queue: &str) -> Result<Requests> {
        let (subject, queue) = (subject.to_owned(), queue.to_owned());
        let subscriber = self.shared.link.queue_subscribe(subject, queue).await?;
        Ok(self.requests(subscriber))
    }

    async fn request(&self, subject: &str, payload: Bytes, deadline: Duration) -> Result<Bytes> {
        let asked = self.shared.link.request(subject.to_owned(), None, payload, deadline);
        Ok(asked.await?.payload)
    }

    async fn call(&self, subject: &str, message: bus::Message, deadline: Duration) -> Result<bus::Message> {
        self.calls.call(subject, message, deadline).await
    }

    /// The client's own flush ends at the socket. A server takes what one client sends in order, so its answer that
    /// nobody serves this subject is the proof that it has taken in everything before.
    async fn fence(&self) -> Result<()> {
        let nobody = format!("{}.fence", self.shared.link.client().new_inbox());
        match self.shared.link.request(nobody, None, Bytes::new(), READ).await {
            Ok(_) | Err(BusError::NoResponders) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.state.clone()
    }

    fn max_payload(&self) -> usize {
        self.shared.link.client().max_payload()
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }
}
