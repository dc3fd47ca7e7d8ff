//! The reading half of a connection: from its beginning to the end.

use std::{sync::Arc, time::Duration};

use herald_proto::CloseCode;
use tokio::time::{Instant, timeout_at};

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

/// Boxed, for what an async function takes by value has its place in the task twice.
pub(super) struct Reader {
    receiver: Receiver,
    pub conversation: Conversation,
    _open: OpenGuard,
    _room: Room,
}

impl Reader {
    /// `ahead` has been read already.
    pub fn new(gateway: &Arc<Gateway>, conn: &Arc<Conn>, ahead: &[u8], open: OpenGuard, room: Room) -> Box<Self> {
        Box::new(Self {
            receiver: Receiver::new(ahead, gateway.paths.frame(conn.dialect)),
            conversation: Conversation::new(gateway.clone(), conn.clone()),
            _open: open,
            _room: room,
        })
    }

    pub async fn run(mut self: Box<Self>) {
        let conn = self.conversation.conn.clone();
        tokio::select! {
            ending = self.read() => conn.end(ending),
            () = conn.outbox.not_open() => {}
        }
        self.conversation.end();
        Box::pin(self.end()).await;
    }

    async fn end(self: Box<Self>) {
        let Conversation { gateway, conn, .. } = &self.conversation;
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

    async fn read(&mut self) -> Ending {
        if !self.conversation.is_welcomed() {
            let wait = self.conversation.gateway.limits.now().connect_timeout;
            if let Err(ending) = Box::pin(self.first_frame(Instant::now() + wait)).await {
                return ending;
            }
        }
        loop {
            let Some(socket) = self.conversation.conn.socket() else {
                return Ending::Peer(None); // a reader is made for none but those that have one
            };
            if self.receiver.readable(socket).await.is_err() {
                return Ending::Peer(None);
            }
            // Only waiting has its place in the task; what is done with a frame is boxed.
            if let Err(ending) = Box::pin(self.burst()).await {
                return ending;
            }
        }
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
        let bytes = size(|reader: &'static mut Reader| reader.burst());
        assert!(bytes <= 1024, "{bytes}");
    }
}
