//! The writing half of a connection: takes all that waits in the outbox and writes it with as few system calls as it
//! takes, until the end; then says goodbye.

use std::{
    future::poll_fn,
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use metrics::Counter;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{
    Conn,
    outbox::{Frames, Work},
};

/// Frames in one system call; Linux takes up to 1,024, but the slices live on the stack.
const SLICES: usize = 64;
/// How long a client may take to receive what waits, and the close frame behind it, once the end has begun.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// All connections count into one place: seldom, or processors would wait for each other there.
const REPORT: u64 = 16 << 10;

pub async fn run<W: AsyncWrite + Unpin>(conn: Arc<Conn>, mut stream: W, bytes_out: Counter) {
    let mut written = 0;
    let mut unreported = 0;
    loop {
        match conn.outbox.work(written).await {
            Work::Write(frames) => {
                written = frames.bytes();
                if !write(&conn, &mut stream, frames).await {
                    break;
                }
                unreported += written as u64;
                if unreported >= REPORT {
                    bytes_out.increment(std::mem::take(&mut unreported));
                }
            }
            Work::Close(frame) => {
                let goodbye = async {
                    stream.write_all(&frame).await?;
                    stream.shutdown().await
                };
                // The client may be gone already; there is nothing more to tell it.
                let _gone = Box::pin(tokio::time::timeout(LAST_WRITES, goodbye)).await;
                break;
            }
            Work::End => break,
        }
    }
    bytes_out.increment(unreported);
    conn.outbox.end();
}

/// False where the connection is no longer of use.
async fn write<W: AsyncWrite + Unpin>(conn: &Conn, stream: &mut W, mut frames: Frames) -> bool {
    let writing = write_all(stream, &mut frames);
    tokio::pin!(writing);
    tokio::select! {
        biased;
        done = writing.as_mut() => return done.is_ok(),
        () = conn.outbox.closing() => {}
    }
    // The end has begun while the client did not read. Give it a moment: a close frame can only follow whole frames.
    let rest = Box::pin(tokio::time::timeout(LAST_WRITES, writing)).await;
    matches!(rest, Ok(Ok(())))
}

async fn write_all<W: AsyncWrite + Unpin>(stream: &mut W, frames: &mut Frames) -> std::io::Result<()> {
    while !frames.is_empty() {
        let written = poll_fn(|cx| poll_write(stream, frames, cx)).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        frames.advance(written);
    }
    Ok(())
}

/// The slices live on the stack of this call only, not in the task of every idle connection.
fn poll_write<W: AsyncWrite + Unpin>(
    stream: &mut W,
    frames: &Frames,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    if frames.len() == 1
        && let Some(frame) = frames.iter().next()
    {
        return Pin::new(stream).poll_write(cx, frame);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
        *slice = IoSlice::new(frame);
        count += 1;
    }
    Pin::new(stream).poll_write_vectored(cx, &slices[..count])
}
