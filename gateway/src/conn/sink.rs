//! Where a connection's outbox is emptied to.

use std::{
    sync::{Arc, OnceLock},
    task::Waker,
};

use futures_util::task::AtomicWaker;

use super::{flush::Flusher, socket::Socket};

pub enum Sink {
    /// A WebSocket's, which its flusher writes to. Not there yet where the client is known before its upgrade.
    Socket {
        socket: OnceLock<Socket>,
        flusher: Arc<Flusher>,
    },
    /// An HTTP answer, which takes what waits as fast as its client reads. Boxed, for most connections are none.
    Answer(Box<Answer>),
}

pub struct Answer {
    /// Of who writes the answer and has found nothing to write.
    waker: AtomicWaker,
    pub(super) counts: bool,
}

impl Sink {
    /// None: [`Conn::attach`](super::Conn::attach) brings the socket.
    pub fn socket(socket: Option<Socket>, flusher: Arc<Flusher>) -> Self {
        Self::Socket {
            socket: socket.map(OnceLock::from).unwrap_or_default(),
            flusher,
        }
    }

    /// Whether nothing can be written before a socket is brought.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self, Self::Socket { socket, .. } if socket.get().is_none())
    }

    /// `counts`: as one of its user's connections.
    pub fn answer(counts: bool) -> Self {
        Self::Answer(Box::new(Answer {
            waker: AtomicWaker::new(),
            counts,
        }))
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
            size_of::<OnceLock<tokio::net::TcpStream>>() + size_of::<Arc<Flusher>>(),
            "the kind of sink needs no room of its own"
        );
    }
}
