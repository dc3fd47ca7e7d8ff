//! A stream that holds back the answer by which its connection is upgraded, for whoever takes the connection over: what comes
//! after it may then go in the same system call, and the same packet.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How hyper begins it. It comes in one piece, with nothing behind it.
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

pub struct Held<S> {
    stream: S,
    answer: Vec<u8>,
}

impl<S> Held<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            answer: Vec::new(),
        }
    }

    /// The answer must be written before all else. Empty: it has been.
    pub fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.answer.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.starts_with(SWITCHING) {
            self.answer.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs.first() {
            // The rest, if any, is offered again.
            Some(first) if first.starts_with(SWITCHING) => self.poll_write(cx, first),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_upgrades_waits_for_who_takes_over_and_all_else_passes() {
        let (stream, mut peer) = duplex(1024);
        let mut held = Held::new(stream);
        held.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let switching = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        let written = held
            .write_vectored(&[IoSlice::new(switching), IoSlice::new(b"x")])
            .await;
        assert_eq!(written.unwrap(), switching.len());
        held.flush().await.unwrap();
        let (stream, answer) = held.into_parts();
        drop(stream);
        assert_eq!(&answer[..], switching);
        let mut came = Vec::new();
        peer.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"HTTP/1.1 200 OK\r\n\r\n");
    }
}
