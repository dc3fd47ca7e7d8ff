//! Where a connection's outbox is emptied to.

use std::{sync::Arc, task::Waker};

use futures_util::task::AtomicWaker;

use super::{flush::Flusher, socket::Socket};

pub enum Sink {
    /// A WebSocket's, which its flusher writes to.
    Socket { socket: Socket, flusher: Arc<Flusher> },
    /// An HTTP answer, which takes what waits as fast as its client reads. Boxed, for most connections are none.
    Answer(Box<Answer>),
}

pub struct Answer {
    /// Of who writes the answer and has found nothing to write.
    waker: AtomicWaker,
    pub(super) counts: bool,
}

impl Sink {
    /// `counts`: as one of its user's connections.
    pub fn answer(counts: bool) -> Self {
        Self::Answer(Box::new(Answer {
            waker: AtomicWaker::new(),
            counts,
        }))
    }

    /// None: an HTTP answer needs none.
    pub(super) fn flusher(&self) -> Option<&Arc<Flusher>> {
        match self {
            Self::Socket { flusher, .. } => Some(flusher),
            Self::Answer(_) => None,
        }
    }
}

impl Answer {
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle WebSocket pays for what others need.
    #[test]
    fn other_sinks_cost_a_websocket_nothing() {
        assert_eq!(
            size_of::<Sink>(),
            size_of::<tokio::net::TcpStream>() + size_of::<Arc<Flusher>>(),
            "the kind of sink needs no room of its own"
        );
    }
}
