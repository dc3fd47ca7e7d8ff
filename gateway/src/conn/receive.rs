//! Messages out of a byte stream: fastwebsockets reads the frames, this puts fragments together and keeps the rules
//! that it leaves to its user. While a connection is idle it holds no buffer at all.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use fastwebsockets::{Frame, Payload, Role, WebSocketError, WebSocketRead};
use herald_proto::CloseCode;
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::TcpStream,
};

use super::socket::Socket;

mod fragments;

use fragments::{Fragments, accept, into_bytes};

/// Taken in one system call, before there is a buffer. Most of what clients send fits; the rest follows in the burst.
const FIRST_READ: usize = 4096;

/// What a client sent.
#[derive(Debug)]
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

/// Why nothing more can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The client is gone.
    Gone,
    /// It broke the rules; close with this.
    Rules(CloseCode),
}

/// The receiving half of a connection.
pub struct Receiver {
    /// What was read before the burst that is to serve it.
    ahead: Bytes,
    max_message: usize,
    fragments: Option<Fragments>,
}

impl Receiver {
    pub fn new(ahead: &[u8], max_message: usize) -> Self {
        Self {
            // A copy: even when empty, hyper's own would keep its whole read buffer alive.
            ahead: Bytes::copy_from_slice(ahead),
            max_message,
            fragments: None,
        }
    }

    /// Waits, without a buffer, until something has come. May be dropped and called again.
    ///
    /// That a socket is said to be readable is not enough: after a read that took all there was it still is, and a
    /// buffer would be held from one frame to the next. So what there is is read into this call's own space first.
    pub async fn readable(&mut self, socket: &Socket) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(socket, cx)).await
    }

    fn poll_readable(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ahead.has_remaining() {
            let mut space = [const { MaybeUninit::uninit() }; FIRST_READ];
            let mut came = ReadBuf::uninit(&mut space);
            std::task::ready!(socket.poll_read(cx, &mut came))?;
            if came.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.ahead = Bytes::copy_from_slice(came.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// Begins to read; to be called when there is something.
    pub fn burst<'a>(&'a mut self, socket: &'a Socket, read: &'a AtomicU64) -> Burst<'a> {
        read.store(0, Ordering::Relaxed);
        let stream = Counted {
            ahead: &mut self.ahead,
            socket,
            read,
        };
        let (mut frames, _unused) = fastwebsockets::after_handshake_split(stream, tokio::io::sink(), Role::Server);
        frames.set_auto_close(false);
        frames.set_auto_pong(false);
        // Its own check refuses a payload of exactly the maximum.
        frames.set_max_message_size(self.max_message + 1);
        Burst {
            frames,
            read,
            used: 0,
            told: 0,
            fragments: &mut self.fragments,
            max_message: self.max_message,
        }
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

/// Counts what is read, so that it is known when all of it has been used up.
struct Counted<'a> {
    ahead: &'a mut Bytes,
    socket: &'a Socket,
    read: &'a AtomicU64,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.has_remaining() {
            let n = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..n]);
            self.ahead.advance(n);
        } else {
            std::task::ready!(self.socket.poll_read(cx, buf))?;
        }
        let n = (buf.filled().len() - before) as u64;
        self.read.fetch_add(n, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// Reading, while there is something: this, not the connection, owns the 8 KiB read buffer.
pub struct Burst<'a> {
    frames: WebSocketRead<Counted<'a>>,
    read: &'a AtomicU64,
    /// Bytes of the frames so far.
    used: u64,
    /// Those of them that somebody has asked for.
    told: u64,
    fragments: &'a mut Option<Fragments>,
    max_message: usize,
}

impl Burst<'_> {
    /// What comes next. None: all that was read has been used up, and the buffer can go. Not cancel-safe, as
    /// fastwebsockets' `read_frame` is not: once dropped, the connection can only end.
    pub async fn next(&mut self) -> Result<Option<Received>, Broken> {
        // A header longer than it need be makes `used` fall behind: then the buffer is only kept for longer.
        if self.used > 0 && self.used == self.read.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let frame = self.frame().await?;
        let received = accept(frame, self.fragments, self.max_message)?;
        Ok(Some(received.unwrap_or(Received::Part)))
    }

    /// How many bytes the frames took, their headers included, since this was last asked.
    pub fn taken(&mut self) -> u64 {
        let taken = self.used - self.told;
        self.told = self.used;
        taken
    }

    async fn frame(&mut self) -> Result<Frame<'static>, Broken> {
        let mut no_obligations = |_: Frame<'static>| async { Ok::<(), Infallible>(()) };
        let mut frame = match self.frames.read_frame(&mut no_obligations).await {
            Ok(frame) => frame,
            Err(error) => return Err(broken(&error)),
        };
        // The only way to learn whether a frame was masked is to have its header written.
        let mut head = [0u8; 16];
        let head_size = frame.fmt_head(&mut head);
        if head[1] & 0x80 == 0 {
            return Err(Broken::Rules(CloseCode::ProtocolError));
        }
        self.used += (head_size + frame.payload.len()) as u64;
        Ok(Frame::new(
            frame.fin,
            frame.opcode,
            None,
            Payload::Bytes(into_bytes(frame.payload)),
        ))
    }
}

fn broken(error: &WebSocketError) -> Broken {
    match error {
        WebSocketError::FrameTooLarge => Broken::Rules(CloseCode::TooBig),
        WebSocketError::InvalidUTF8 => Broken::Rules(CloseCode::InvalidPayload),
        WebSocketError::IoError(_) | WebSocketError::UnexpectedEOF => Broken::Gone,
        _ => Broken::Rules(CloseCode::ProtocolError),
    }
}

#[cfg(test)]
mod tests;
