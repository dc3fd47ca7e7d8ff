//! A request's body. What its handler left unread is taken in afterwards: a client that is still sending it would find the
//! connection closed, and go on to send its next request there.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Request,
    body::{Body, Frame, SizeHint},
    header,
};
use parking_lot::Mutex;

/// What is taken in unread, and how long that may take: the body of a common request that is on its way already.
const MOST: u64 = 64 << 10;
const WITHIN: Duration = Duration::from_millis(500);

pub struct Incoming(Arc<Mutex<hyper::body::Incoming>>);

/// The same body, for when the handler is done with it.
pub(super) struct Rest {
    body: Incoming,
    /// The client sends it only when it is asked to.
    waits: bool,
}

impl Incoming {
    pub(super) fn share(request: Request<hyper::body::Incoming>) -> (Request<Self>, Rest) {
        let waits = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let body = Arc::new(Mutex::new(body));
        let rest = Rest {
            body: Self(body.clone()),
            waits,
        };
        (Request::from_parts(parts, Self(body)), rest)
    }
}

impl Rest {
    /// False where there is more than is worth it: then the connection is of no use any more.
    pub(super) async fn take_in(mut self) -> bool {
        if self.body.is_end_stream() {
            return true;
        }
        if self.waits || self.body.size_hint().lower() > MOST {
            return false;
        }
        tokio::time::timeout(WITHIN, self.read()).await.unwrap_or(false)
    }

    async fn read(&mut self) -> bool {
        let mut bytes = 0;
        while let Some(frame) = self.body.frame().await {
            let Ok(frame) = frame else { return false };
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if bytes > MOST {
                return false;
            }
        }
        true
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}
