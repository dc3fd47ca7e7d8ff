//! The reading half of a connection: from its beginning to the end.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use herald_proto::CloseCode;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    Conn,
    conversation::Conversation,
    receive::{self, Broken, Receiver},
};
use crate::{
    addresses::Room,
    event::Ending,
    gateway::{Gateway, OpenGuard},
    metrics,
};

/// After the close frame, the client gets this long to hang up by itself.
const LINGER: Duration = Duration::from_secs(1);

async fn discard(conn: &Conn) {
    if let Some(socket) = conn.socket() {
        // Beneath TLS too: what it says does not matter any more.
        receive::discard(socket.tcp()).await;
    }
}

/// The task of a connection. All but waiting is made when something has come, and boxed: for a client that says nothing the
/// runtime keeps the smallest task that it has.
pub(super) enum Reading {
    Waits(Box<Reader>),
    Serves(Serving),
    Over,
}

/// Gives the reader back, to wait on; None: the connection has ended.
type Serving = Pin<Box<dyn Future<Output = Option<Box<Reader>>> + Send>>;

impl Future for Reading {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            *self = match &mut *self {
                Self::Waits(reader) => {
                    let came = ready!(reader.poll_came(cx));
                    let Self::Waits(reader) = mem::replace(&mut *self, Self::Over) else {
                        continue; // it waits, as was seen above
                    };
                    Self::Serves(match came {
                        Ok(()) => Box::pin(reader.serve()),
                        Err(ending) => Box::pin(async move {
                            reader.leave(ending).await;
                            None
                        }),
                    })
                }
                Self::Serves(serving) => ready!(serving.as_mut().poll(cx)).map_or(Self::Over, Self::Waits),
                Self::Over => return Poll::Ready(()),
            };
        }
    }
}

pub(super) struct Reader {
    receiver: Receiver,
    pub conversation: Conversation,
    _room: Room,
    /// Held here and not by the task, which would be twice as large with it.
    _counted: TaskTrackerToken,
}

impl Reader {
    /// `ahead` has been read already.
    pub fn new(gateway: &Arc<Gateway>, conn: &Arc<Conn>, ahead: &[u8], open: OpenGuard, room: Room) -> Box<Self> {
        Box::new(Self {
            receiver: Receiver::new(ahead, gateway.paths.frame(conn.dialect)),
            conversation: Conversation::new(open, conn.clone()),
            _room: room,
            _counted: gateway.tasks.token(),
        })
    }

    /// To be spawned. It counts as one of the gateway's tasks.
    pub fn run(self: Box<Self>) -> Reading {
        match self.conversation.is_welcomed() {
            true => Reading::Waits(self),
            false => Reading::Serves(Box::pin(self.serve())),
        }
    }

    /// Resolves when something has come, or when there is nothing to wait for any more.
    fn poll_came(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let conn = &self.conversation.conn;
        // A reader is made for none but those that have a socket.
        let (Some(socket), Poll::Pending) = (conn.socket(), conn.outbox.poll_not_open(cx)) else {
            return Poll::Ready(Err(Ending::Peer(None)));
        };
        let came = ready!(self.receiver.poll_readable(socket, cx));
        Poll::Ready(came.map_err(|_gone| Ending::Peer(None)))
    }

    /// Serves what has come. None: meanwhile the connection has ended.
    async fn serve(mut self: Box<Self>) -> Option<Box<Self>> {
        let conn = self.conversation.conn.clone();
        let served = tokio::select! {
            served = self.work() => served,
            () = conn.outbox.not_open() => Err(Ending::Peer(None)),
        };
        match served {
            Ok(()) => Some(self),
            Err(ending) => {
                Box::pin(self.leave(ending)).await;
                None
            }
        }
    }

    async fn leave(mut self: Box<Self>, ending: Ending) {
        // The first to say how it ends is right.
        self.conversation.conn.end(ending);
        self.conversation.end();
        self.end().await;
    }

    async fn end(self: Box<Self>) {
        let (gateway, conn) = (self.conversation.gateway(), &self.conversation.conn);
        let outbox = &conn.outbox;
        metrics::closed(match outbox.ending() {
            Some(Ending::Code(code)) => Some(code),
            Some(Ending::Peer(_)) | None => None,
        });
        gateway.disconnect(conn);
        // The socket must not be closed over what the client still sends, or it could miss the reason.
        let said = async {
            outbox.ended().await;
            tokio::time::sleep(LINGER).await;
        };
        tokio::select! {
            () = said => {}
            () = discard(conn) => outbox.ended().await,
        }
    }

    async fn work(&mut self) -> Result<(), Ending> {
        if !self.conversation.is_welcomed() {
            let wait = self.conversation.gateway().limits.now().connect_timeout;
            return Box::pin(self.first_frame(Instant::now() + wait)).await;
        }
        self.burst().await
    }

    /// Until the client is known. What it sends must come by `end`; what is done about it has deadlines of its own, and takes
    /// nothing of the client's time.
    async fn first_frame(&mut self, end: Instant) -> Result<(), Ending> {
        while !self.conversation.is_welcomed() {
            let late = Ending::Code(CloseCode::NoConnect);
            let socket = self.conversation.conn.socket().ok_or(Ending::Peer(None))?;
            let readable = timeout_at(end, self.receiver.readable(socket)).await;
            readable.map_err(|_| late)?.map_err(|_| Ending::Peer(None))?;
            self.burst().await?;
            // Somebody who always has more to say is not waited for either.
            if Instant::now() >= end && !self.conversation.is_welcomed() {
                return Err(late);
            }
        }
        Ok(())
    }

    /// Serves what has come.
    async fn burst(&mut self) -> Result<(), Ending> {
        loop {
            match self.receiver.take() {
                Ok(Some(received)) => {
                    let bytes = self.receiver.taken();
                    self.conversation.received(received, bytes).await?;
                }
                Ok(None) => return Ok(()),
                Err(Broken(code)) => return Err(Ending::Code(code)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// It is made anew for whatever comes, a pong too.
    #[test]
    fn what_serves_a_frame_is_small() {
        let bytes = size(|reader: Box<Reader>| reader.serve());
        assert!(bytes <= 1024, "{bytes}");
    }

    /// tokio's tasks take multiples of 128 bytes, 96 of them for itself.
    #[test]
    fn who_says_nothing_has_the_smallest_task_and_a_small_reader() {
        assert!(size_of::<Reading>() <= 24, "{}", size_of::<Reading>());
        assert!(size_of::<Reader>() <= 256, "{}", size_of::<Reader>());
    }
}
