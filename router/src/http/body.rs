//! What an answer consists of: bytes that are all there, or a stream of them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, SizeHint};

type Stream = Pin<Box<dyn hyper::body::Body<Data = Bytes, Error = Infallible> + Send>>;

pub enum Body {
    Whole(Full<Bytes>),
    /// Asked for more as fast as the client reads.
    Stream(Stream),
}

impl Body {
    pub fn stream(body: impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }
}

/// HTTP/2 takes a whole body at once and keeps what its client does not read, out of reach; of parts it asks for the next as
/// the one before is on its way.
const PART: usize = 16 << 10;

struct Parts(Bytes);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.0.len().min(PART);
        Poll::Ready((part > 0).then(|| Ok(Frame::data(self.0.split_to(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl Body {
    pub(super) async fn in_parts(self) -> Self {
        let Self::Whole(mut whole) = self else { return self };
        match whole.frame().await.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(bytes))) => Self::stream(Parts(bytes)),
            _ => Self::default(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
