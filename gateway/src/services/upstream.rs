//! A backend behind HTTP: each call is a POST.

use bytes::{Bytes, BytesMut};
use herald_router::outgoing::{self, chain};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    header::{self, HeaderMap},
};

use super::{
    Call, CallError, Reply,
    headers::{self, ERROR_TEXT, MSG_ID},
};
use crate::{config::ServiceSettings, dialect::body};

pub use outgoing::Fault;

pub struct Upstream {
    /// Where a call without a method goes, as it is configured.
    url: String,
    client: outgoing::Client,
}

impl Upstream {
    pub fn new(url: &str, settings: &ServiceSettings) -> Result<Self, Fault> {
        let client = outgoing::Client::new(&outgoing::Settings {
            url,
            connect_timeout: settings.connect_timeout,
            allow_addresses: &settings.allow_addresses,
            ca_file: settings.ca_file.as_ref(),
        })?;
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
