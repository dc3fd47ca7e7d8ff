//! The connection, and what is asked through it.

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::{Client, Event, HeaderMap, Message, Request, Server, ServerAddr, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{NatsConfig, error::ApiError, provision};
use crate::{
    bus::{BusError, Result},
    metrics::node,
};
pub(super) use provision::line;

/// Two pings without an answer end a connection: a dead server is noticed within six seconds.
const PING: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(3);
const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// Messages that may wait in one subscription; beyond that they are dropped. Must exceed every batch that is asked for
/// (`read::BATCH`, `newer::CHUNK`, `consumer::BATCH`, `select::BATCH`), for these come without flow control.
const SUBSCRIPTION: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Connection {
    pub(super) up: bool,
    /// Grows with each connect: tells a connection from the one before.
    pub(super) number: u64,
}

pub(super) struct Link {
    client: Arc<Client>,
    connection: watch::Receiver<Connection>,
    shutdown: CancellationToken,
}

impl Link {
    /// `trouble`: why there is no connection. `disturbed` grows when messages to subscriptions may have been lost.
    pub(super) async fn connect(
        config: &NatsConfig,
        trouble: Arc<Mutex<Option<String>>>,
        disturbed: watch::Sender<u64>,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let (sender, connection) = watch::channel(Connection::default());
        let metrics = Arc::new(node::Connection::new());
        let counted = metrics.clone();
        // Its own choice of cryptography would fail where several have been built in.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let options = config
            .access
            .options()
            .name(&config.name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .ping_interval(PING)
            .connection_timeout(CONNECT)
            .subscription_capacity(SUBSCRIPTION)
            .reconnect_delay_callback(reconnect_delay)
            .reconnect_to_server_callback(move |servers, _| {
                refused(&trouble, &counted, &servers);
                // Which of them comes next, the client decides.
                std::future::ready(None)
            })
            .event_callback(move |event| {
                note(&sender, &disturbed, &metrics, &event);
                std::future::ready(())
            });
        let client = options
            .connect(servers(&config.urls)?)
            .await
            .map_err(|error| BusError::Refused(error.to_string()))?;
        Ok(Self {
            client: Arc::new(client),
            connection,
            shutdown,
        })
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(super) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }

    fn up(&self) -> bool {
        // The client's own state is known a moment before its event: both must agree.
        self.client.connection_state() == State::Connected && self.connection.borrow().up
    }

    /// Runs `work` while this connection lasts. What it sent may have arrived or not.
    pub(super) async fn while_up<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        if !self.up() || self.shutdown.is_cancelled() {
            return Err(BusError::Unavailable("not connected to NATS".to_owned()));
        }
        let mut connection = self.connection.clone();
        let began = *connection.borrow_and_update();
        tokio::select! {
            biased;
            done = work => Ok(done),
            // An error means that the client has ended.
            _ = connection.wait_for(|now| *now != began) => {
                Err(BusError::Unavailable("the connection to NATS was lost".to_owned()))
            }
        }
    }

    pub(super) async fn publish(&self, subject: String, payload: Bytes) -> Result<()> {
        Ok(self.while_up(self.client.publish(subject, payload)).await??)
    }

    pub(super) async fn publish_with_reply(&self, subject: String, reply: String, payload: Bytes) -> Result<()> {
        let published = self.client.publish_with_reply(subject, reply, payload);
        Ok(self.while_up(published).await??)
    }

    pub(super) async fn publish_call(
        &self,
        subject: String,
        reply: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<()> {
        let published = self
            .client
            .publish_with_reply_and_headers(subject, reply, headers, payload);
        Ok(self.while_up(published).await??)
    }

    pub(super) async fn subscribe(&self, subject: String) -> Result<Subscriber> {
        Ok(self.while_up(self.client.subscribe(subject)).await??)
    }

    pub(super) async fn queue_subscribe(&self, subject: String, queue: String) -> Result<Subscriber> {
        let subscribed = self.client.queue_subscribe(subject, queue);
        Ok(self.while_up(subscribed).await??)
    }

    /// The client forgets the request only when it is answered: a few hundred bytes stay for each that never is.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Message> {
        let mut request = Request::new().payload(payload).timeout(Some(deadline));
        request.headers = headers;
        Ok(self.while_up(self.client.send_request(subject, request)).await??)
    }

    /// Asks JetStream's API: `subject` follows `$JS.API.`.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: &impl Serialize,
        deadline: Duration,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| BusError::Refused(error.to_string()))?;
        let asked = self.request(format!("$JS.API.{subject}"), None, body.into(), deadline);
        match asked.await {
            Ok(answer) => ApiError::or(&answer.payload),
            Err(BusError::NoResponders) => Err(ApiError::no_leader()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for several answers, which come to an inbox of their own.
    pub(super) async fn ask(&self, subject: String, body: &impl Serialize, deadline: Duration) -> Result<Answers<'_>> {
        let end = Instant::now() + deadline;
        let inbox = self.client.new_inbox();
        let subscriber = self.subscribe(inbox.clone()).await?;
        let body = serde_json::to_vec(body).map_err(|error| BusError::Refused(error.to_string()))?;
        self.publish_with_reply(subject, inbox, body.into()).await?;
        Ok(Answers {
            link: self,
            subscriber,
            end,
        })
    }

    /// Waits until there is a connection, or until shutdown.
    pub(super) async fn wait_up(&self) {
        let mut connection = self.connection.clone();
        tokio::select! {
            // An error means that the client has ended, which only shutdown brings about.
            Ok(_) = connection.wait_for(|now| now.up) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Sends what waits and closes; gives up where there is no connection to close.
    pub(super) async fn close(&self) {
        let closed = timeout(Duration::from_secs(1), self.client.drain()).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::debug!("left NATS without a goodbye");
        }
    }
}

/// Answers to one question, until `end`.
pub(super) struct Answers<'a> {
    link: &'a Link,
    subscriber: Subscriber,
    end: Instant,
}

impl Answers<'_> {
    pub(super) async fn next(&mut self) -> Result<Message> {
        let next = timeout_at(self.end, self.subscriber.next());
        match self.link.while_up(next).await? {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(BusError::Unavailable("the connection to NATS is closed".to_owned())),
            Err(_) => Err(BusError::Timeout),
        }
    }
}

fn note(
    connection: &watch::Sender<Connection>,
    disturbances: &watch::Sender<u64>,
    metrics: &node::Connection,
    event: &Event,
) {
    match event {
        Event::Connected => {
            metrics.connected();
            connection.send_modify(|now| {
                now.up = true;
                now.number += 1;
            });
            disturbances.send_modify(|count| *count += 1);
        }
        Event::Disconnected | Event::Closed => {
            if connection.borrow().up {
                metrics.lost();
            }
            connection.send_modify(|now| now.up = false);
        }
        Event::SlowConsumer(_) => {
            metrics.dropped();
            tracing::warn!("a subscription could not keep up: messages from NATS were dropped");
            disturbances.send_modify(|count| *count += 1);
        }
        Event::ServerError(error) => tracing::warn!(%error, "NATS refuses"),
        other => tracing::debug!(%other, "NATS"),
    }
}

/// Those that are given, without the credentials in their URLs.
pub(super) fn servers(urls: &[String]) -> Result<Vec<ServerAddr>> {
    let parse = |url: &String| without_secrets(url).parse::<ServerAddr>();
    let servers: Result<Vec<_>, _> = urls.iter().map(parse).collect();
    let servers = servers.map_err(|error| BusError::Refused(error.to_string()))?;
    match servers.is_empty() {
        true => Err(BusError::Refused("no URL of NATS is given".to_owned())),
        false => Ok(servers),
    }
}

/// The client writes its servers' URLs into the log, and makes no use of credentials there.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let place = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{place}{path}")
}

/// Before each attempt to connect, what became of the one before: nothing else tells more than of which kind it was. It is
/// logged once for each reason.
fn refused(trouble: &Mutex<Option<String>>, metrics: &node::Connection, servers: &[Server]) {
    let Some((server, why)) = servers
        .iter()
        .find_map(|server| Some((&server.addr, server.last_error.as_ref()?)))
    else {
        return;
    };
    metrics.refused(node::Refusal::of(why));
    // Of a URL nothing more: it may hold a password.
    let place = format!("{}:{}", server.host(), server.port());
    let new = line(&format!("no connection to NATS: {place}: {why}"));
    let mut told = trouble.lock();
    if told.as_ref() != Some(&new) {
        tracing::warn!(server = place, %why, "no connection to NATS");
        *told = Some(new);
    }
}

/// Soon at first; then with jitter, so that a thousand nodes do not come back to a restarted server in one instant.
pub(super) fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempts.min(8)).unwrap_or(8);
    let ceiling = Duration::from_millis(16 << doublings).min(RECONNECT_MAX);
    ceiling.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_stripped_of_what_the_log_must_not_show() {
        for (url, stripped) in [
            ("nats://user:p@ss@host:4222", "nats://host:4222"),
            ("tls://token@[::1]:1/", "tls://[::1]:1/"),
            ("host:4222", "nats://host:4222"),
            ("user:secret@host", "nats://host"),
        ] {
            assert_eq!(without_secrets(url), stripped);
        }
    }
}
