//! A small HTTP/1.1 server over hyper: the accept loop, its deadlines and its end. Both binaries use it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

mod body;

pub use body::Body;

/// A request's head must be here within this.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// The first of a request's body must be here within this after its head, and each further part after the one before.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Largest head of a request; a token (4 KiB) fits several times.
const HEAD_BYTES: usize = 32 << 10;
/// Connections that wait to be accepted: a storm of reconnects comes faster than one loop accepts.
const BACKLOG: u32 = 4096;
/// When accepting fails (no file descriptors left), trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Ends a request's connection from outside, as an extension of the request: who writes a long answer is not asked for
/// more of it while the client does not read, and so could never give up.
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

/// Accepts until `stop`; then connections finish the request that they are at.
pub async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>, stop: CancellationToken, tasks: TaskTracker) {
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
                tasks.spawn(connection(stream, peer, handler.clone(), stop.clone(), admission));
            }
            Err(error) => {
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Arc<H>,
    stop: CancellationToken,
    _admission: H::Admission,
) {
    let cut = Cut::default();
    let given = cut.clone();
    let service = service_fn(move |mut request| {
        let handler = handler.clone();
        request.extensions_mut().insert(given.clone());
        async move { Ok::<_, Infallible>(handler.handle(request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = cut.cut() => Ok(()),
            }
        }
        () = cut.cut() => Ok(()),
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "an HTTP connection ended");
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
