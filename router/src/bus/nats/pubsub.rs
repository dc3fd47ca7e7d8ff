//! Requests and messages of core NATS.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Message, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{READ, Shared};
use crate::bus::{BusError, BusState, PubSub, Reply, ReplyTo, Request, Requests, Result};

/// Between the client's own buffer and the receiver: small, for that one is large.
const HANDED_OVER: usize = 64;

pub(super) struct NatsPubSub {
    shared: Shared,
    state: watch::Receiver<BusState>,
}

impl NatsPubSub {
    pub(super) fn new(shared: Shared, state: watch::Receiver<BusState>) -> Self {
        Self { shared, state }
    }

    fn requests(&self, subscriber: Subscriber) -> Requests {
        let (sender, receiver) = mpsc::channel(HANDED_OVER);
        let stop = CancellationToken::new();
        let forward = forward(subscriber, self.shared.link.client().clone(), sender, stop.clone());
        let shutdown = self.shared.shutdown.clone();
        self.shared.tasks.spawn(async move {
            shutdown.run_until_cancelled(forward).await;
        });
        Requests {
            receiver,
            end: Box::new(move || stop.cancel()),
        }
    }
}

/// Hands requests over until the receiver is dropped, or until the subscription has drained.
async fn forward(
    mut subscriber: Subscriber,
    client: Arc<Client>,
    sender: mpsc::Sender<Request>,
    stop: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = subscriber.next() => message,
            () = stop.cancelled() => break,
        };
        let Some(message) = message else { return };
        if sender.send(request(message, &client)).await.is_err() {
            return;
        }
    }
    // The client ends the stream once the server has been told; what came before is still handed over.
    if let Err(error) = subscriber.drain().await {
        tracing::debug!(%error, "the client has ended");
        return;
    }
    while let Some(message) = subscriber.next().await {
        if sender.send(request(message, &client)).await.is_err() {
            return;
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
}
