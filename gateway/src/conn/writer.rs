//! Writes what a socket did not take at once, and says goodbye. A task that lives only as long as that takes.

use std::{sync::Arc, time::Duration};

use metrics::Counter;

use super::{
    Conn,
    outbox::{Frames, Work},
    socket::Socket,
};

/// How long a client may take to receive what waits, and the close frame behind it, once the end has begun.
const LAST_WRITES: Duration = Duration::from_secs(2);

pub async fn run(conn: Arc<Conn>, work: Work, bytes_out: Counter) {
    let Some(socket) = conn.socket() else {
        return conn.outbox.end(); // flushers have none but those that have one
    };
    let mut next = Some(work);
    while let Some(work) = next {
        match work {
            Work::Write(frames) => {
                let bytes = frames.bytes();
                if !write(&conn, socket, frames).await {
                    return conn.outbox.end();
                }
                bytes_out.increment(bytes as u64);
                next = conn.outbox.next(bytes);
            }
            Work::Close(ending) => {
                let mut frame = Frames::from(conn.dialect.close(ending));
                // The client may be gone already; there is nothing more to tell it.
                let _gone = tokio::time::timeout(LAST_WRITES, write_all(socket, &mut frame)).await;
                socket.shut_down();
                return conn.outbox.end();
            }
        }
    }
}

/// False where the connection is no longer of use.
async fn write(conn: &Conn, socket: &Socket, mut frames: Frames) -> bool {
    let writing = write_all(socket, &mut frames);
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

pub(super) async fn write_all(socket: &Socket, frames: &mut Frames) -> std::io::Result<()> {
    while !frames.is_empty() {
        match socket.try_write(frames) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => frames.advance(written),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
