//! Who writes: a few flushers, each with its share of the connections.
//!
//! A connection into whose outbox something was put is handed to its flusher, which writes all that waits there in one
//! system call and goes on to the next. So a message to a thousand connections wakes a few tasks and not a thousand,
//! an idle connection has no task that waits to write, and where messages come faster than they are written they share
//! a write. What a socket does not take at once is left to a [`writer`] of that connection alone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::{
    Conn,
    outbox::{Frames, Work},
    socket::Socket,
    writer,
};

/// Writes between two looks at what else the thread has to do: a fifth of a millisecond.
const TURN: usize = 32;
/// Writes to one connection in a row while its outbox is being filled at the same time.
const ROUNDS: usize = 4;

pub struct Flushers {
    flushers: Vec<Arc<Flusher>>,
    next: AtomicUsize,
}

pub struct Flusher {
    /// Bounded by the connections, each of which is here at most once.
    waiting: Mutex<Vec<Arc<Conn>>>,
    wake: Notify,
    tasks: TaskTracker,
    bytes_out: Counter,
}

impl Flushers {
    /// One for each thread of the runtime, so that all of them can write.
    pub fn new(tasks: &TaskTracker, bytes_out: &Counter) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let flusher = || Flusher {
            waiting: Mutex::default(),
            wake: Notify::new(),
            tasks: tasks.clone(),
            bytes_out: bytes_out.clone(),
        };
        Self {
            flushers: (0..threads).map(|_| Arc::new(flusher())).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// The flusher of a new connection.
    pub fn assign(&self) -> Arc<Flusher> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.flushers.len();
        self.flushers[at].clone()
    }

    /// Works until dropped.
    pub async fn run(&self) {
        let running = self.flushers.iter().map(|flusher| {
            let flusher = flusher.clone();
            tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { flusher.run().await }))
        });
        futures_util::future::join_all(running).await;
    }
}

impl Flusher {
    pub fn add(&self, conn: Arc<Conn>) {
        let first = {
            let mut waiting = self.waiting.lock();
            waiting.push(conn);
            waiting.len() == 1
        };
        if first {
            self.wake.notify_one();
        }
    }

    async fn run(&self) {
        let mut batch = Vec::new();
        loop {
            self.wake.notified().await;
            std::mem::swap(&mut batch, &mut *self.waiting.lock());
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
