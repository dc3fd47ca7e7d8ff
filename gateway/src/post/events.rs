//! `GET /events`: what a WebSocket would have been pushed, as Server-Sent Events.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use herald_router::{
    failure::Failure,
    http::{Body, Cut, Incoming},
};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Frame,
    header::{self, HeaderName, HeaderValue},
};
use metrics::Counter;
use tokio::time::timeout;

use super::{NotNow, guest::Guest, identified, only, too_many};
use crate::{
    addresses::Room,
    auth::source,
    conn::{
        Conn,
        pull::{Pull, Pulled},
        query::Asking,
    },
    dialect::Dialect,
    event::{ConnectOptions, Ending, Tag, checked_users},
    gateway::{self, Gateway},
    percent::{self, Query},
};

/// What a browser says by itself when it comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asks proxies of the nginx kind to pass on what comes as it comes.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How long a client may take to receive what waits, and how it ended, once the end has begun.
const LAST_WRITES: Duration = Duration::from_secs(2);

pub async fn events(gateway: &Arc<Gateway>, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
    if request.method() != Method::GET {
        return only("GET");
    }
    match open(gateway, &request, client).await {
        Ok(body) => {
            let mut response = Response::new(body);
            for (name, value) in [
                (header::CONTENT_TYPE, "text/event-stream"),
                (header::CACHE_CONTROL, "no-cache"),
                (BUFFERING, "no"),
            ] {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            response
        }
        Err(not_now) => not_now.into(),
    }
}

/// All that can fail fails here, with a status: browsers end for good on any but 200.
async fn open(gateway: &Arc<Gateway>, request: &Request<Incoming>, client: IpAddr) -> Result<Body, NotNow> {
    gateway.accepts()?;
    let query = request.uri().query().unwrap_or_default();
    let query = percent::query(query).map_err(|e| Failure::bad_request(e.to_string()))?;
    let token = source::find_without_upgrade(request.headers(), &query);
    let identity = identified(gateway, token.as_deref()).await?;
    let options = options(request.headers(), &query)?;
    gateway::start(&options)?;
    let watched = watched(&query)?;
    let slot = gateway.addresses.connect(client).map_err(too_many)?;
    let room = Room::new(slot, gateway.capacity.guest()?);
    let mut guest = Guest::new(gateway, Dialect::Events, true, client, room);
    let connected = guest.connect(&identity, &options).await;
    connected.map_err(|refused| refused.failure)?;
    if let Some(users) = watched {
        let asking = Asking {
            gateway: gateway.clone(),
            user: identity.user,
        };
        let conn = &guest.conn;
        asking
            .watch(conn, users, |answer| conn.answer(&Tag::None, &answer))
            .await?;
    }
    let stream = Stream {
        pull: Pull::new(guest.conn.clone()),
        ended: false,
        bytes_out: gateway.metrics.bytes_out.clone(),
    };
    gateway.tasks.spawn(attend(guest, request.extensions().get().cloned()));
    Ok(Body::stream(stream))
}

/// The header stands for how far the client has come since it was given its URL, so it counts before what that asks for.
fn options(headers: &HeaderMap, query: &Query<'_>) -> Result<ConnectOptions, Failure> {
    let parameter = |name| source::parameter(query, name).map(str::to_owned);
    let device = parameter("device");
    let last = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty());
    if let Some(last) = last {
        let cursor = last.to_str().map_err(|_| Failure::bad_request("malformed cursor"))?;
        return Ok(ConnectOptions {
            cursor: Some(cursor.to_owned()),
            since: None,
            device,
        });
    }
    Ok(ConnectOptions {
        cursor: parameter("cursor"),
        since: parameter("since"),
        device,
    })
}

/// Whom to watch: a stream has no other way to say so.
fn watched(query: &Query<'_>) -> Result<Option<Vec<String>>, Failure> {
    let users = query.iter().filter(|(name, _)| name == "watch");
    let users: Vec<String> = users.map(|(_, user)| user.to_string()).collect();
    if users.is_empty() {
        return Ok(None);
    }
    checked_users(users).map(Some).map_err(Failure::bad_request)
}

/// Stays until the connection ends, takes it out of everything, and does not wait for ever until its client has read the
/// rest.
async fn attend(guest: Guest, cut: Option<Cut>) {
    let conn = guest.conn.clone();
    conn.outbox.not_open().await;
    drop(guest);
    let written = timeout(LAST_WRITES, conn.outbox.ended()).await;
    if let (Err(_), Some(cut)) = (written, cut) {
        cut.now();
    }
}

/// The answer's body: the connection ends with it, however it ends.
struct Stream {
    pull: Pull,
    ended: bool,
    bytes_out: Counter,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = match ready!(self.pull.poll_next(cx)) {
            Pulled::Frame(event) => event,
            Pulled::End(ending) => {
                self.ended = true;
                self.conn().dialect.close(ending)
            }
        };
        self.bytes_out.increment(event.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

impl Stream {
    fn conn(&self) -> &Arc<Conn> {
        self.pull.conn()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.conn().end(Ending::Peer(None));
        self.conn().outbox.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_browser_has_come_counts_before_what_its_url_asks_for() {
        let query: Query<'_> = vec![("since".into(), "start".into()), ("device".into(), "tab".into())];
        let mut headers = HeaderMap::new();
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static(""));
        let first = options(&headers, &query).unwrap();
        assert_eq!((first.cursor, first.since.as_deref()), (None, Some("start")));
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("5f3a@0:41"));
        let again = options(&headers, &query).unwrap();
        assert_eq!((again.cursor.as_deref(), again.since), (Some("5f3a@0:41"), None));
        assert_eq!(again.device.as_deref(), Some("tab"));
    }
}
