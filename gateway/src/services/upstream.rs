//! A backend behind HTTP: each call is a POST. Connections are kept for the next call, and no redirect is followed: the
//! one who answers is the one who is configured.

use std::{net::IpAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, Uri,
    body::{Body as _, Incoming},
    header::{self, HeaderMap},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{
    Call, CallError, Reply,
    headers::{self, ERROR_TEXT, MSG_ID},
};
use crate::{config::ServiceSettings, dialect::body};
use address::{Allowed, Resolver};

mod address;
mod tls;

/// Connections kept while there is nothing to ask. A few calls come at once, a burst of many may connect anew.
const IDLE: usize = 32;
/// Shorter than the 5 s after which common servers (Node, uvicorn) close an idle connection: a request that crosses such
/// a close would be lost, and may not be sent twice.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// A reply is read in pieces of at most this; its head must fit in one.
const READ: usize = 64 << 10;

/// What is wrong with an upstream's settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("must be an http or https URL with a host, without user, query or fragment")]
    Url,
    #[error("{0} is link-local: it must be listed in allow_addresses")]
    Address(IpAddr),
    #[error("{0}")]
    CaFile(String),
}

impl Fault {
    /// The setting, of the service at `service`.
    pub fn path(&self, service: &str) -> String {
        match self {
            Self::Url | Self::Address(_) => format!("{service}.url"),
            Self::CaFile(_) => format!("{service}.ca_file"),
        }
    }
}

type Connector = HttpsConnector<HttpConnector<Resolver>>;

pub struct Upstream {
    /// Where a call without a method goes, as it is configured.
    url: String,
    client: Client<Connector, Full<Bytes>>,
}

impl Upstream {
    pub fn new(url: &str, settings: &ServiceSettings) -> Result<Self, Fault> {
        let allowed = Allowed::new(&settings.allow_addresses);
        let uri = check(url, &allowed)?;
        let mut http = HttpConnector::new_with_resolver(Resolver(allowed));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(settings.connect_timeout));
        let tls = match uri.scheme_str() {
            Some("https") => tls::config(settings.ca_file.as_deref())?,
            _ => tls::none()?,
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        // The client's tasks are its connections': each ends with its call, or after IDLE_FOR.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE)
            .http1_max_buf_size(READ)
            .build(connector);
        Ok(Self {
            url: url.to_owned(),
            client,
        })
    }

    pub(super) async fn call(&self, call: Call, most: usize) -> Result<Reply, CallError> {
        let request = self.request(call).map_err(|error| {
            tracing::warn!(%error, "a call that HTTP does not take");
            CallError::Broken
        })?;
        let response = self.client.request(request).await.map_err(|error| {
            tracing::debug!(error = %chain(&error), "an upstream failed");
            if error.is_connect() {
                CallError::NotThere
            } else {
                CallError::Broken
            }
        })?;
        reply(response, most).await
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        // Names of methods are plain: they stand for themselves in a path.
        let uri = match &call.method {
            Some(method) => format!("{}/{method}", self.url.trim_end_matches('/')),
            None => self.url.clone(),
        };
        let mut request = Request::post(uri);
        for (name, value) in headers::of(&call) {
            request = request.header(name, value);
        }
        request.body(Full::new(call.body))
    }
}

/// An address written into the URL is never resolved, so it is looked at here.
fn check(url: &str, allowed: &Allowed) -> Result<Uri, Fault> {
    let uri: Uri = url.parse().map_err(|_| Fault::Url)?;
    let authority = uri.authority().ok_or(Fault::Url)?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || authority.host().is_empty() || authority.as_str().contains('@') || url.contains(['?', '#']) {
        return Err(Fault::Url);
    }
    let host = authority.host().trim_matches(['[', ']']);
    match host.parse() {
        Ok(address) if !allowed.allows(address) => Err(Fault::Address(address)),
        _ => Ok(uri),
    }
}

async fn reply(response: Response<Incoming>, most: usize) -> Result<Reply, CallError> {
    let (head, body) = response.into_parts();
    match head.status.as_u16() {
        200..=299 => Ok(Reply {
            content_type: headers::content_type(value(&head.headers, header::CONTENT_TYPE.as_str())),
            msg_id: headers::msg_id(value(&head.headers, MSG_ID))?,
            body: whole(body, most).await?,
        }),
        status @ 400..=499 if tells(&head.headers) => Err(headers::refused(status, &text(body).await)),
        status @ 400..=499 => Err(headers::refused(status, "")),
        status => {
            tracing::debug!(status, "an upstream failed");
            Err(CallError::Broken)
        }
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Never more than `most` bytes are held. Dropping the rest closes the connection.
async fn whole(mut body: Incoming, most: usize) -> Result<Bytes, CallError> {
    if body.size_hint().lower() > most as u64 {
        return Err(CallError::ReplyTooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| CallError::Broken)?;
        let Ok(piece) = frame.into_data() else { continue };
        if whole.len() + piece.len() > most {
            return Err(CallError::ReplyTooLarge);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// A page for browsers says nothing to a client.
fn tells(headers: &HeaderMap) -> bool {
    let content_type = value(headers, header::CONTENT_TYPE.as_str()).unwrap_or("text/plain");
    content_type.starts_with("text/plain") || body::claims_json(content_type)
}

/// What an error's body says, if it comes with the first piece.
async fn text(mut body: Incoming) -> String {
    let piece = match body.frame().await {
        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    };
    // A character has up to four bytes. One that is cut is beyond what is told.
    let text = String::from_utf8_lossy(&piece[..piece.len().min(4 * ERROR_TEXT)]);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned()
}

/// The error with its causes: the client's own text says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
