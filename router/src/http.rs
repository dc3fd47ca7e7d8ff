//! A small HTTP server over hyper: the accept loop, its deadlines and its end. Both binaries use it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::tls::Tls;

mod body;
mod connection;
mod streams;

pub use body::Body;

use connection::Serving;

/// The first of a request's body must be here within this after its head, and each further part after the one before.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted: a storm of reconnects comes faster than one loop accepts.
const BACKLOG: u32 = 4096;
/// When accepting fails (no file descriptors left), trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Ends a request from outside, with its connection where that is HTTP/1.1; an extension of the request. Who writes a long
/// answer is not asked for more of it while the client does not read, and so could never give up.
#[derive(Clone, Default)]
pub struct Cut(Arc<Notify>);

impl Cut {
    pub fn now(&self) {
        self.0.notify_one();
    }

    async fn cut(&self) {
        self.0.notified().await;
    }
}

/// Answers one request that came from a peer address.
pub trait Handler: Send + Sync + 'static {
    /// Held while a connection speaks HTTP.
    type Admission: Send + 'static;

    /// None: too many connections of this peer; it is dropped without a word.
    fn admit(&self, peer: SocketAddr) -> Option<Self::Admission>;

    /// Sees each connection's socket once, before anything is read from it.
    fn prepare(&self, _socket: &TcpStream) {}

    fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;
}

pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until `stop`; then connections finish the requests that they are at. With `tls` nothing else is spoken.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    handler: Arc<H>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // A frame that waits for more to fill a packet would only be late.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "a connection that is gone already");
                    continue;
                }
                let Some(admission) = handler.admit(peer) else {
                    debug!(%peer, "too many HTTP connections");
                    continue;
                };
                handler.prepare(&stream);
                let serving = Serving {
                    handler: handler.clone(),
                    peer,
                    stop: stop.clone(),
                    tasks: tasks.clone(),
                    _admission: admission,
                };
                tasks.spawn(connection::run(stream, tls.clone(), serving));
            }
            Err(error) => {
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body)
}

pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    typed(status, "application/json", body)
}

pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
