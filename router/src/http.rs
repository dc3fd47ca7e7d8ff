//! A small HTTP server over hyper: the accept loop, its deadlines and its end. Both binaries use it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Request, Response, StatusCode, header};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
};

mod accept;
mod body;
mod connection;
mod held;
mod incoming;
mod streams;

pub use accept::{End, serve};
pub use body::Body;
pub use held::Held;
pub use incoming::Incoming;

/// The first of a request's body must be here within this after its head, and each further part after the one before.
pub const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted: a storm of reconnects comes faster than one loop accepts.
const BACKLOG: u32 = 4096;

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

    fn admit(&self, peer: SocketAddr) -> Result<Self::Admission, Turned>;

    /// There are no file descriptors left: somebody was turned away for that.
    fn exhausted(&self) {}

    /// Sees each connection's socket once, before anything is read from it.
    fn prepare(&self, _socket: &TcpStream) {}

    fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;
}

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// There are too many of this peer's. It is dropped without a word.
    Away,
    /// There are too many. It is told when to come back.
    Back(Duration),
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
