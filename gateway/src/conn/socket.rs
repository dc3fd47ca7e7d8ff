//! The socket of a WebSocket, bare or beneath TLS. Nothing here waits: who reads or writes does that.

use std::{
    io::{self, IoSlice, Read},
    net::Shutdown,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::outbox::Frames;

mod tls;

use tls::TlsSocket;

/// Frames in one system call; Linux takes up to 1,024, but the slices live on the stack.
const SLICES: usize = 64;
/// Room up to which it costs less to clear it than to ask the socket once more.
const CLEARED: usize = 4096;

pub enum Socket {
    Plain(TcpStream),
    /// Boxed: it is much larger, and must cost others nothing.
    Tls(Box<TlsSocket>),
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }
}

impl From<TlsStream<TcpStream>> for Socket {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        let (socket, session) = stream.into_inner();
        Self::Tls(Box::new(TlsSocket::new(socket, session)))
    }
}

impl Socket {
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => socket.tcp(),
        }
    }

    /// What has come; nothing at the end. One task may read.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => return socket.poll_read(cx, buf),
        };
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match read(socket, buf) {
                // There was nothing, after all: the readiness is taken back.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Writes of `frames` what is taken at once, in one system call if it can. What was not taken must be the first to
    /// be offered again. Only this one is to be followed by [`Socket::writable`].
    pub fn try_write(&self, frames: &Frames) -> io::Result<usize> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => return socket.try_write(frames),
        };
        socket.try_io(Interest::WRITABLE, || send(socket, frames))
    }

    /// The same for those who do not wait: the runtime's book of what is ready, which lies elsewhere in memory, is not
    /// looked at.
    pub fn write_now(&self, frames: &Frames) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => send(socket, frames),
            Self::Tls(socket) => socket.try_write(frames),
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// Nothing will be written any more.
    pub fn shut_down(&self) {
        if let Self::Tls(socket) = self {
            socket.say_goodbye();
        }
        // The client may be gone already; there is nothing more to tell it.
        let _gone = SockRef::from(self.tcp()).shutdown(Shutdown::Write);
    }
}

/// In one system call. What does not fill the room was all that there is: the runtime takes the readiness back, as it does
/// after its own reads, and the next wait begins without a call that finds nothing.
fn read(socket: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    if buf.remaining() > CLEARED {
        return socket.try_read_buf(buf).map(drop);
    }
    let mut came = None;
    let outcome = socket.try_io(Interest::READABLE, || {
        let room = buf.initialize_unfilled();
        let bytes = (&*SockRef::from(socket)).read(room)?;
        came = Some(bytes);
        let all = 0 < bytes && bytes < room.len();
        if all {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    let Some(bytes) = came else { return outcome };
    buf.advance(bytes);
    Ok(())
}

fn send(socket: &TcpStream, frames: &Frames) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    if frames.len() == 1
        && let Some(frame) = frames.iter().next()
    {
        return socket.send(frame);
    }
    with_slices(frames, |slices| socket.send_vectored(slices))
}

fn with_slices<T>(frames: &Frames, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
        *slice = IoSlice::new(frame);
        count += 1;
    }
    write(&slices[..count])
}

#[cfg(test)]
pub(super) mod tests;
