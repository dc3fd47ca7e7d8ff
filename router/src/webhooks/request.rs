//! One request with events, and what the receiver says to it.

use std::time::Duration;

use bytes::Bytes;
use herald_proto::id;
use http_body_util::Full;
use hyper::{Request, header};
use tokio::time::timeout;
use tracing::debug;

use super::signature;
use crate::{
    bus::EventEntry,
    config::{Secret, WebhookSettings},
    outgoing::{self, Fault, chain},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Accepted,
    /// 4xx: the receiver is there and does not want it.
    Refused,
    /// All else, redirects among it: the receiver is not there, or not well.
    Failed,
}

impl Outcome {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// What asks for patience says nothing against the events.
    fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Accepted,
            408 | 425 | 429 => Self::Failed,
            400..=499 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

pub(super) struct Sender {
    client: outgoing::Client,
    url: String,
    name: String,
    secrets: Vec<Secret>,
    timeout: Duration,
}

impl Sender {
    pub fn new(settings: &WebhookSettings) -> Result<Self, Fault> {
        Ok(Self {
            client: outgoing::Client::new(&settings.outgoing())?,
            url: settings.url.clone(),
            name: settings.name.clone(),
            secrets: settings.secrets.clone(),
            timeout: settings.timeout,
        })
    }

    pub async fn send(&self, events: &[EventEntry]) -> Outcome {
        let request = match self.request(events) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, webhook = self.name, "a request that HTTP does not take");
                return Outcome::Failed;
            }
        };
        // Its body says nothing to anybody; dropping it ends the connection.
        match timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(response)) => Outcome::of(response.status().as_u16()),
            Ok(Err(error)) => {
                debug!(error = %chain(&error), webhook = self.name, "a webhook failed");
                Outcome::Failed
            }
            Err(_) => Outcome::Failed,
        }
    }

    fn request(&self, events: &[EventEntry]) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let body = body(events);
        // Made anew with each try: receivers refuse what is old.
        let signature = signature::header(&self.secrets, id::now_ms() / 1_000, &body);
        Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("herald/", env!("CARGO_PKG_VERSION")))
            .header(signature::HEADER, signature)
            .header("Herald-Webhook", &self.name)
            .body(Full::new(body))
    }
}

/// Events are JSON already.
fn body(events: &[EventEntry]) -> Bytes {
    let mut body = b"{\"events\":[".to_vec();
    for (i, event) in events.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&event.payload);
    }
    body.extend_from_slice(b"]}");
    body.into()
}
