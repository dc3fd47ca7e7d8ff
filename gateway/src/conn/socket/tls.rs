//! TLS over a socket that reader and writer share, without a task or a buffer of its own for each direction.

use std::{
    io::{self, IoSlice, Read, Write},
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use rustls::ServerConnection;
use tokio::{io::ReadBuf, net::TcpStream};

use super::with_slices;
use crate::conn::outbox::Frames;

pub struct TlsSocket {
    tcp: TcpStream,
    /// Held for as long as it takes to encrypt or decrypt what is there, by one thread at a time.
    session: Mutex<Session>,
}

struct Session {
    tls: ServerConnection,
    /// How many bytes of frames have been encrypted, but not sent to the last. They count as not written.
    unsent: usize,
}

impl TlsSocket {
    pub fn new(tcp: TcpStream, tls: ServerConnection) -> Self {
        let session = Mutex::new(Session { tls, unsent: 0 });
        Self { tcp, session }
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let session = &mut *self.session.lock();
        loop {
            match session.tls.reader().read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Also where the client hung up without a word: the end of a WebSocket is told by a frame.
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.tcp.poll_read_ready(cx))?;
            session.receive(&self.tcp)?;
        }
    }

    /// As [`super::Socket::try_write`].
    pub fn try_write(&self, frames: &Frames) -> io::Result<usize> {
        let session = &mut *self.session.lock();
        if session.unsent == 0 {
            session.unsent = with_slices(frames, |slices| session.tls.writer().write_vectored(slices))?;
        }
        session.send(&self.tcp)?;
        Ok(std::mem::take(&mut session.unsent))
    }

    pub fn say_goodbye(&self) {
        let session = &mut *self.session.lock();
        session.tls.send_close_notify();
        // Who takes nothing more need not be told.
        let _sent = session.send(&self.tcp);
    }
}

impl Session {
    fn receive(&mut self, tcp: &TcpStream) -> io::Result<()> {
        match self.tls.read_tls(&mut Bare(tcp)) {
            Ok(_) => {}
            // There was nothing, after all: the readiness is taken back.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let processed = self.tls.process_new_packets();
        // An answer to the other side's new keys, or an alert. What is not taken goes with the next frame.
        let _sent = self.send(tcp);
        processed.map(drop).map_err(io::Error::other)
    }

    /// All that is encrypted; fails where not all of it is taken.
    fn send(&mut self, tcp: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut Bare(tcp))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

/// The socket as it is, for one who waits for nothing.
struct Bare<'a>(&'a TcpStream);

impl Read for Bare<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Bare<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
