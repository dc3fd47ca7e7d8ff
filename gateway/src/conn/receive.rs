//! Messages out of a byte stream: this waits for the socket, [`frames`] makes messages of what comes.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use herald_proto::CloseCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, Interest, ReadBuf},
    net::TcpStream,
};

use super::socket::Socket;

pub mod frames;
mod head;
mod utf8;

use frames::Frames;

/// Taken in one system call. Most of what clients send fits.
const FIRST_READ: usize = 4096;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Text(Bytes),
    Binary(Bytes),
    Ping(Bytes),
    /// With what the ping had.
    Pong(Bytes),
    /// Its close frame's code.
    Close(Option<u16>),
    /// A part of a message of which more is to come.
    Part,
}

/// The client broke the rules; the connection is closed with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub CloseCode);

/// The receiving half of a connection. While nothing of a frame is here it holds no memory.
pub struct Receiver {
    frames: Frames,
    /// Something has come that was not looked at yet.
    fresh: bool,
}

impl Receiver {
    /// `ahead` was read before, by somebody else.
    pub fn new(ahead: &[u8], max_message: usize) -> Self {
        let mut frames = Frames::new(max_message);
        frames.put(ahead);
        Self {
            frames,
            fresh: !ahead.is_empty(),
        }
    }

    /// Waits until something has come. May be dropped and called again.
    pub async fn readable(&mut self, socket: &Socket) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(socket, cx)).await
    }

    pub fn poll_readable(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.fresh {
            let read = match self.frames.room(FIRST_READ) {
                Some(room) => ready!(pin!(Reading(socket).read_buf(room)).poll(cx))?,
                // Into this call's own space: a client that waits is to cost nothing but what it has sent.
                None => {
                    let mut space = [const { MaybeUninit::uninit() }; FIRST_READ];
                    let mut came = ReadBuf::uninit(&mut space);
                    ready!(socket.poll_read(cx, &mut came))?;
                    self.frames.put(came.filled());
                    came.filled().len()
                }
            };
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.fresh = true;
        }
        Poll::Ready(Ok(()))
    }

    /// The next of what has come. None: that was all.
    pub fn take(&mut self) -> Result<Option<Received>, Broken> {
        let next = self.frames.take()?;
        self.fresh = next.is_some();
        Ok(next)
    }

    /// How many bytes the frames took, their heads included, since this was last asked.
    pub fn taken(&mut self) -> u64 {
        self.frames.taken()
    }
}

struct Reading<'a>(&'a Socket);

impl AsyncRead for Reading<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

/// Reads and forgets until the client is gone, so that it can still receive the reason why.
pub async fn discard(socket: &TcpStream) {
    // Boxed: a connection that never comes here must not have room for it.
    let mut scratch = vec![0u8; 1024];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut scratch) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// While nobody reads, a socket says at once that it is readable: how often it is looked at whether that is all.
const LOOK: Duration = Duration::from_millis(250);

/// Resolves when the client has hung up, without reading what it sent before.
pub async fn hung_up(socket: &TcpStream) {
    while socket
        .ready(Interest::READABLE)
        .await
        .is_ok_and(|ready| !ready.is_read_closed())
    {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests;
