//! Requests over one kept connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Address, WireError, socket};

/// A server that stands still must not keep a run from its end. Herald answers a command within 9 seconds.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One connection, opened when it is needed and again after it was closed. One request at a time.
pub struct Http {
    address: Address,
    client: usize,
    sources: u32,
    open: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Http {
    pub fn new(address: Address, sources: u32, client: usize) -> Self {
        Self {
            address,
            client,
            sources,
            open: None,
        }
    }

    pub fn host(&self) -> &str {
        &self.address.host
    }

    /// The whole answer, or an error once it is late.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, WireError> {
        let answer = timeout(PATIENCE, self.ask(method, path, headers, body)).await;
        answer.map_err(|_| WireError::Late)?
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, WireError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address.host);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body.into()))?;
        let mut sender = match self.open.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        self.open = Some(sender);
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, WireError> {
        let source = socket::source(self.address.socket, self.sources, self.client);
        let stream = socket::connect(self.address.socket, source).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; its errors come to the request under way.
        tokio::spawn(connection);
        Ok(sender)
    }
}
