//! The writing half of a connection: takes all that waits in the outbox and writes it with as few system calls as it
//! takes, until the end; then says goodbye.

use std::{collections::VecDeque, io::IoSlice, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Conn, outbox::Work};
use crate::metrics::Metrics;

/// Frames in one system call; Linux takes up to 1,024, but the slices live on the stack.
const SLICES: usize = 32;
/// How long a client may take to receive what waits, and the close frame behind it, once the end has begun.
const LAST_WRITES: Duration = Duration::from_secs(2);

pub async fn run<W: AsyncWrite + Unpin>(conn: Arc<Conn>, mut stream: W, metrics: Metrics) {
    loop {
        match conn.outbox.work().await {
            Work::Write(frames) => {
                let bytes = frames.iter().map(Bytes::len).sum();
                if !write(&conn, &mut stream, frames).await {
                    break;
                }
                conn.outbox.written(bytes);
                metrics.bytes_out.increment(bytes as u64);
            }
            Work::Close(frame) => {
                let goodbye = async {
                    stream.write_all(&frame).await?;
                    stream.shutdown().await
                };
                // The client may be gone already; there is nothing more to tell it.
                let _gone = tokio::time::timeout(LAST_WRITES, goodbye).await;
                break;
            }
            Work::End => break,
        }
    }
    conn.outbox.end();
}

/// False where the connection is no longer of use.
async fn write<W: AsyncWrite + Unpin>(conn: &Conn, stream: &mut W, mut frames: VecDeque<Bytes>) -> bool {
    {
        let writing = write_all(stream, &mut frames);
        tokio::pin!(writing);
        tokio::select! {
            biased;
            done = writing.as_mut() => return done.is_ok(),
            () = conn.outbox.closing() => {}
        }
        // The end has begun while the client did not read. Give it a moment: a close frame can only follow whole frames.
        let rest = tokio::time::timeout(LAST_WRITES, writing).await;
        matches!(rest, Ok(Ok(())))
    }
}

async fn write_all<W: AsyncWrite + Unpin>(stream: &mut W, frames: &mut VecDeque<Bytes>) -> std::io::Result<()> {
    while !frames.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
            *slice = IoSlice::new(frame);
            count += 1;
        }
        let mut written = stream.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while let Some(front) = frames.front_mut() {
            if written < front.len() {
                front.advance(written);
                break;
            }
            written -= front.len();
            frames.pop_front();
        }
    }
    Ok(())
}
