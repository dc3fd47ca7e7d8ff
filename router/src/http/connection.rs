//! One connection, from its first byte to its end: in HTTP/1.1, or in HTTP/2 where the handshake of TLS chose that.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Request, Response, StatusCode, Version,
    body::Body as _,
    header::{self, HeaderValue},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use super::{Body, Cut, End, Handler, Held, Incoming, streams, streams::Streams, text};
use crate::tls::{self, Tls};

/// A request's head must be here within this.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// Largest head of a request; a token (4 KiB) fits several times.
const HEAD_BYTES: usize = 32 << 10;

/// Requests of one HTTP/2 connection at once. Browsers open some dozens.
const STREAMS: u32 = 128;
/// What may come of one request's body, and of all of a connection's, before it is asked for.
const STREAM_WINDOW: u32 = 128 << 10;
const WINDOW: u32 = 1 << 20;
/// What may wait to be sent of one answer, beside what its outbox holds.
const SEND_BYTES: usize = 64 << 10;
/// An HTTP/2 connection without a request is let go after this: browsers open another when they need it.
const IDLE: Duration = Duration::from_secs(60);
/// Whether the other side of an HTTP/2 connection is there is asked this often, and believed not after so long.
const PING: Duration = Duration::from_secs(25);
const PONG: Duration = Duration::from_secs(10);

/// How long the client of an HTTP/2 request may take to read an answer that is more than a few words: it holds it here, and
/// the connection is alive all the while. In HTTP/1.1 the socket's own deadline does for that.
const READ_WITHIN: Duration = Duration::from_secs(30);
const FEW_WORDS: u64 = 1 << 10;

/// All that a connection is served with.
pub(super) struct Serving<H: Handler> {
    pub handler: Arc<H>,
    pub peer: SocketAddr,
    pub end: End,
    pub tasks: TaskTracker,
    /// Held while HTTP is spoken.
    pub _admission: H::Admission,
}

pub(super) async fn run<H: Handler>(stream: TcpStream, tls: Option<Arc<Tls>>, serving: Serving<H>) {
    let peer = serving.peer;
    let ended = match tls {
        None => http1(stream, serving).await,
        // Boxed: what it needs is much more, and plain connections must not have room for it.
        Some(tls) => Box::pin(secured(stream, &tls, serving)).await,
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "an HTTP connection ended");
    }
}

async fn secured<H: Handler>(stream: TcpStream, tls: &Tls, serving: Serving<H>) -> hyper::Result<()> {
    let accepted = tls.accept(stream, serving.peer);
    let accepted = serving.end.closed.run_until_cancelled(Box::pin(accepted)).await;
    let Some(stream) = accepted.flatten() else {
        return Ok(());
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(tls::HTTP2) => Box::pin(http2(stream, serving, READ_WITHIN)).await,
        _ => http1(stream, serving).await,
    }
}

async fn http1<H: Handler, S>(stream: S, serving: Serving<H>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cut = Cut::default();
    let begun = CancellationToken::new();
    let (handler, peer, given) = (serving.handler.clone(), serving.peer, cut.clone());
    let (begins, closing) = (begun.clone(), serving.end.closing.clone());
    let service = service_fn(move |request| {
        begins.cancel();
        let (answer, closing) = (answer(handler.clone(), request, peer, given.clone()), closing.clone());
        async move {
            let mut answer = answer.await?;
            if closing.is_cancelled() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Held::new(stream)), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = serving.end.closing.cancelled() => {}
        () = cut.cut() => return Ok(()),
    }
    // Told to shut down before anything has come, hyper would close over the request that is on its way.
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = begun.cancelled() => connection.as_mut().graceful_shutdown(),
        () = serving.end.closed.cancelled() => return Ok(()),
        () = cut.cut() => return Ok(()),
    }
    tokio::select! {
        ended = connection => ended,
        () = cut.cut() => Ok(()),
    }
}

async fn http2<H: Handler, S>(stream: S, serving: Serving<H>, read_within: Duration) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let streams = Streams::new(serving.tasks.clone());
    let (handler, peer) = (serving.handler.clone(), serving.peer);
    let (stop, tasks) = (serving.end.closing.clone(), serving.tasks.clone());
    let service = service_fn(move |request| {
        let (handler, stop, tasks) = (handler.clone(), stop.clone(), tasks.clone());
        async move {
            let cut = streams::cut().unwrap_or_default();
            let response = answer(handler, request, peer, cut.clone()).await?;
            if response.body().size_hint().lower() > FEW_WORDS {
                // At the end of all, a drain has its own deadline.
                tasks.spawn(async move {
                    let overdue = stop.run_until_cancelled(tokio::time::sleep(read_within)).await;
                    overdue.map(|()| cut.now())
                });
            }
            let (head, body) = response.into_parts();
            Ok::<_, Infallible>(Response::from_parts(head, body.in_parts().await))
        }
    });
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = serving.end.closing.cancelled() => {}
        () = streams.idle(IDLE) => {}
    }
    // Requests that are under way are answered.
    connection.as_mut().graceful_shutdown();
    if serving.end.closing.is_cancelled() {
        return connection.await;
    }
    // What is left is the end of answers that nobody reads.
    tokio::time::timeout(read_within, connection).await.unwrap_or(Ok(()))
}

async fn answer<H: Handler>(
    handler: Arc<H>,
    request: Request<hyper::body::Incoming>,
    peer: SocketAddr,
    cut: Cut,
) -> Result<Response<Body>, Infallible> {
    let (mut request, rest) = Incoming::share(request);
    let version = request.version();
    let mut response = match name_host(&mut request) {
        true => {
            request.extensions_mut().insert(cut);
            handler.handle(request, peer).await
        }
        false => text(StatusCode::BAD_REQUEST, "one host is needed\n"),
    };
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if version < Version::HTTP_2 && !upgraded && !rest.take_in().await {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response)
}

/// In HTTP/2 the host stands in the request's target; those who ask for the header need not know. False: both are there
/// and differ (RFC 9113, 8.3.1), or an HTTP/1.1 request has none, or several (RFC 9112, 3.2).
fn name_host<B>(request: &mut Request<B>) -> bool {
    match request.version() {
        Version::HTTP_2 => {}
        Version::HTTP_11 => return request.headers().get_all(header::HOST).iter().count() == 1,
        _ => return true,
    }
    let Some(authority) = request.uri().authority().map(|authority| authority.as_str()) else {
        return true;
    };
    match request.headers().get(header::HOST) {
        Some(host) => host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()),
        None => match HeaderValue::from_str(authority) {
            Ok(host) => {
                request.headers_mut().insert(header::HOST, host);
                true
            }
            Err(_) => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Turned;

    struct Large;

    impl Handler for Large {
        type Admission = ();

        fn admit(&self, _: SocketAddr) -> Result<(), Turned> {
            Ok(())
        }

        async fn handle(&self, _: Request<Incoming>, _: SocketAddr) -> Response<Body> {
            text(StatusCode::OK, vec![b'x'; 1 << 20])
        }
    }

    /// It answers pings, so that the connection is alive.
    #[tokio::test]
    async fn an_http2_answer_that_is_never_read_is_given_up() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let serving = Serving {
            handler: Arc::new(Large),
            peer: ([127, 0, 0, 1], 1).into(),
            end: End::at_once(stop.clone()),
            tasks: tasks.clone(),
            _admission: (),
        };
        let serving = tokio::spawn(http2(server, serving, Duration::from_millis(300)));
        let mut builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let narrow = builder
            .initial_stream_window_size(1 << 10)
            .initial_connection_window_size(1 << 20);
        let (mut sender, connection) = narrow.handshake(TokioIo::new(client)).await.unwrap();
        let connection = tokio::spawn(connection);
        let ask = || {
            Request::get("http://localhost/")
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .unwrap()
        };
        let read = |response: Response<hyper::body::Incoming>| http_body_util::BodyExt::collect(response.into_body());
        let unread = sender.send_request(ask()).await.unwrap();
        let begun = tokio::time::Instant::now();
        while !tasks.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it is held for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // hyper's client takes a stream that was cancelled for the end of it.
        let come = read(unread).await.map_or(0, |body| body.to_bytes().len());
        assert!(come < 1 << 20, "the stream was reset");
        let other = read(sender.send_request(ask()).await.unwrap()).await.unwrap();
        assert_eq!(other.to_bytes().len(), 1 << 20, "and no other of the connection");
        drop(sender);
        stop.cancel();
        connection.await.unwrap().unwrap();
        serving.await.unwrap().unwrap();
    }

    #[test]
    fn the_host_of_an_http2_request_stands_in_its_header() {
        let request = |version, host: Option<&str>| {
            let mut request = Request::builder().version(version).uri("https://push.example:8443/ws");
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            request.body(()).unwrap()
        };
        let mut bare = request(Version::HTTP_2, None);
        assert!(name_host(&mut bare));
        assert_eq!(bare.headers()[header::HOST], "push.example:8443");
        assert!(name_host(&mut request(Version::HTTP_2, Some("Push.example:8443"))));
        assert!(!name_host(&mut request(Version::HTTP_2, Some("evil.example"))));
        assert!(name_host(&mut request(Version::HTTP_11, Some("other.example"))));
        assert!(!name_host(&mut request(Version::HTTP_11, None)));
        assert!(name_host(&mut request(Version::HTTP_10, None)));
    }
}
