//! Who writes: a few flushers, for all connections.
//!
//! A connection into whose outbox something was put is handed to the flushers, one of which writes all that waits there
//! in one system call and goes on to the next. So a message to a thousand connections wakes one task and not a thousand,
//! an idle connection has no task that waits to write, and where messages come faster than they are written they share
//! a write. What a socket does not take at once is left to a [`writer`] of that connection alone.
//!
//! What one push makes ready is handed over together, and one flusher takes it: two threads that work at the same fan-out
//! cost more than they save. Others come to help where that is more than its share, or something else is to be written.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::{
    Conn,
    outbox::{Frames, Handover, Pushed, Work},
    sink::Sink,
    socket::Socket,
    writer,
};

/// Connections that a flusher takes at a time: some five milliseconds' work.
const SHARE: usize = 1024;
/// Writes between two looks at what else the thread has to do: about a millisecond. With each the task may be taken over by
/// another thread, which costs as much as several writes.
const TURN: usize = 256;
/// Writes to one connection in a row while its outbox is being filled at the same time.
const ROUNDS: usize = 4;

pub struct Flushers {
    flusher: Arc<Flusher>,
}

/// What all flushers share.
pub struct Flusher {
    /// Bounded by the connections, each of which is here at most once.
    waiting: Mutex<VecDeque<Arc<Conn>>>,
    wake: Notify,
    tasks: TaskTracker,
    bytes_out: Counter,
}

impl Flushers {
    pub fn new(tasks: &TaskTracker, bytes_out: &Counter) -> Self {
        let flusher = Flusher {
            waiting: Mutex::default(),
            wake: Notify::new(),
            tasks: tasks.clone(),
            bytes_out: bytes_out.clone(),
        };
        Self {
            flusher: Arc::new(flusher),
        }
    }

    /// For a new connection.
    pub fn assign(&self) -> Arc<Flusher> {
        self.flusher.clone()
    }

    /// Works until dropped: one for each thread of the runtime, so that all of them can write.
    pub async fn run(&self) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let running = (0..threads).map(|_| {
            let flusher = self.flusher.clone();
            tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { flusher.run().await }))
        });
        futures_util::future::join_all(running).await;
    }
}

/// Connections that one push makes ready to be written to, handed over together.
#[derive(Default)]
pub struct Batch {
    ready: Vec<Arc<Conn>>,
}

impl Batch {
    /// Puts a push into the connection's outbox. Never waits.
    pub fn push(&mut self, conn: &Arc<Conn>, frame: Bytes) -> Pushed {
        let pushed = conn.outbox.push(frame);
        if pushed == Pushed::Queued(Handover::Needed) {
            match &conn.sink {
                Sink::Socket { .. } => self.add(conn),
                Sink::Answer(answer) => answer.wake(),
            }
        }
        pushed
    }

    fn add(&mut self, conn: &Arc<Conn>) {
        self.ready.push(conn.clone());
        if self.ready.len() == SHARE {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        // All connections of a gateway share their flushers.
        let first = self.ready.first().map(|conn| conn.sink.flusher().cloned());
        if let Some(Some(flusher)) = first {
            flusher.add_all(self.ready.drain(..));
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl Flusher {
    pub fn add(&self, conn: Arc<Conn>) {
        self.add_all([conn]);
    }

    /// Wakes a flusher where none is on its way; one that is busy looks here when it is done.
    fn add_all(&self, conns: impl IntoIterator<Item = Arc<Conn>>) {
        let wake = {
            let mut waiting = self.waiting.lock();
            let was_empty = waiting.is_empty();
            waiting.extend(conns);
            was_empty || waiting.len() > SHARE
        };
        if wake {
            self.wake.notify_one();
        }
    }

    async fn run(&self) {
        let mut batch = Vec::new();
        loop {
            let more = {
                let mut waiting = self.waiting.lock();
                let share = waiting.len().min(SHARE);
                batch.extend(waiting.drain(..share));
                !waiting.is_empty()
            };
            if batch.is_empty() {
                self.wake.notified().await;
                continue;
            }
            if more {
                self.wake.notify_one();
            }
            let mut written = 0;
            for (at, conn) in batch.drain(..).enumerate() {
                written += self.flush(&conn);
                drop(conn);
                if at % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
            self.bytes_out.increment(written);
        }
    }

    /// How many bytes were written.
    fn flush(&self, conn: &Arc<Conn>) -> u64 {
        let (mut all, mut written) = (0, 0);
        let Some(socket) = conn.socket() else {
            return 0; // only those that have one are handed over
        };
        for _ in 0..ROUNDS {
            match conn.outbox.next(written) {
                None => return all,
                Some(Work::Write(mut frames)) => {
                    written = try_write(socket, &mut frames);
                    all += written as u64;
                    if !frames.is_empty() {
                        conn.outbox.wrote(written);
                        self.leave_to_writer(conn, Work::Write(frames));
                        return all;
                    }
                }
                Some(close @ Work::Close(_)) => {
                    self.leave_to_writer(conn, close);
                    return all;
                }
            }
        }
        // Others shall have their turn.
        conn.outbox.wrote(written);
        self.add(conn.clone());
        all
    }

    fn leave_to_writer(&self, conn: &Arc<Conn>, work: Work) {
        self.tasks
            .spawn(writer::run(conn.clone(), work, self.bytes_out.clone()));
    }
}

/// Writes what the socket takes at once; what it did not take, or could not because it has failed, stays in `frames`.
fn try_write(socket: &Socket, frames: &mut Frames) -> usize {
    let mut all = 0;
    while !frames.is_empty() {
        match socket.write_now(frames) {
            Ok(written @ 1..) => {
                frames.advance(written);
                all += written;
            }
            Ok(0) | Err(_) => break,
        }
    }
    all
}
