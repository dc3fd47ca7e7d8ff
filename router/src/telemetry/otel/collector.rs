//! The collector, as the SDK's exporter posts to it.

use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;
use tokio::{net::TcpStream, runtime::Handle, time::timeout};
use tracing::warn;

use super::DEADLINE;

/// Between two lines of the log about a collector that does not take spans.
const QUIET: Duration = Duration::from_secs(60);
/// An answer is a few bytes.
const MOST: usize = 64 << 10;

/// How spans come to the collector: on the node's own runtime, since the SDK's thread has none.
#[derive(Debug)]
pub(super) struct Collector {
    runtime: Handle,
    told: Mutex<Option<Instant>>,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self {
            runtime: Handle::current(),
            told: Mutex::default(),
        }
    }

    fn tell(&self, error: &dyn std::fmt::Display) {
        let mut told = self.told.lock();
        if told.is_none_or(|at| at.elapsed() >= QUIET) {
            *told = Some(Instant::now());
            warn!(%error, "the collector does not take spans; they are dropped");
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let posted = async { timeout(DEADLINE, post(request)).await };
        let sent = self.runtime.spawn(posted).await;
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(anyhow::anyhow!("no answer in time")),
            Err(ended) => Err(ended.into()),
        };
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.tell(&answer.status()),
            Err(error) => self.tell(&format_args!("{error:#}")),
        }
        Ok(answer?)
    }
}

async fn post(request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().context("no authority")?.clone();
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host().trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, port))
        .await
        .with_context(|| format!("connecting to {authority}"))?;
    head.uri = Uri::from(head.uri.into_parts().path_and_query.context("no path")?);
    head.headers.insert(header::HOST, authority.as_str().parse()?);
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let answered = async {
        let (head, body) = sender
            .send_request(Request::from_parts(head, Full::new(body)))
            .await?
            .into_parts();
        let body = Limited::new(body, MOST)
            .collect()
            .await
            .map_err(anyhow::Error::from_boxed)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // One request for each connection, which ends with the answer: they are seconds apart.
    tokio::pin!(connection);
    tokio::select! {
        biased;
        answer = answered => answer,
        ended = &mut connection => match ended {
            Ok(()) => Err(anyhow::anyhow!("no answer")),
            Err(error) => Err(error.into()),
        },
    }
}
