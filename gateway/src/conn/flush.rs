//! Who writes: a few flushers, each with its share of the connections.
//!
//! A connection into whose outbox something was put is handed to its flusher, which writes all that waits there in one
//! system call and goes on to the next. So a message to a thousand connections wakes a few tasks and not a thousand,
//! an idle connection has no task that waits to write, and where messages come faster than they are written they share
//! a write. What a socket does not take at once is left to a [`writer`] of that connection alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ::metrics::{Counter, Histogram};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{
    Conn,
    outbox::{Frames, Work},
    socket::Socket,
    writer,
};
use crate::metrics::{self, Metrics};

/// Writes between two looks at what else the thread has to do: a fifth of a millisecond.
const TURN: usize = 32;
/// Who has written to so many at once rests for as long as that took, and no longer than this: where messages to a crowd come
/// faster, several of each connection then share a write. It makes what takes long take at most twice as long, and costs
/// nobody anything where little is to be done.
const CROWD: usize = 256;
const REST: Duration = Duration::from_millis(5);
/// Writes that the log tells of at once, at most: more would take more memory than a fault is worth.
const TRACED: usize = 10_000;
/// Writes to one connection in a row while its outbox is being filled at the same time.
const ROUNDS: usize = 4;

pub struct Flushers {
    flushers: Vec<Arc<Flusher>>,
    next: AtomicUsize,
}

/// In place of a message's time: how long this takes is not measured.
pub(crate) const UNTIMED: u64 = 0;

pub struct Flusher {
    waiting: Mutex<Waiting>,
    wake: Notify,
    tasks: TaskTracker,
    bytes_out: Counter,
    delivery_seconds: Histogram,
}

#[derive(Default)]
struct Waiting {
    /// Bounded by the connections, each of which is here at most once.
    conns: Vec<Arc<Conn>>,
    /// When the first message that waits here was accepted, so that one clock read tells of the whole batch.
    time: u64,
    /// Whose writes the log is to tell of, and of which messages; mostly nothing.
    traced: Vec<(Arc<Conn>, Arc<str>)>,
}

impl Flushers {
    /// One for each thread of the runtime, so that all of them can write.
    pub fn new(tasks: &TaskTracker, metrics: &Metrics) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let flusher = || Flusher {
            waiting: Mutex::default(),
            wake: Notify::new(),
            tasks: tasks.clone(),
            bytes_out: metrics.bytes_out.clone(),
            delivery_seconds: metrics.delivery_seconds.clone(),
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
    /// `time`: of the message that it is for, if it is to be measured.
    pub fn add(&self, conn: Arc<Conn>, time: u64) {
        let first = {
            let mut waiting = self.waiting.lock();
            waiting.conns.push(conn);
            if waiting.time == UNTIMED {
                waiting.time = time;
            }
            waiting.conns.len() == 1
        };
        if first {
            self.wake.notify_one();
        }
    }

    /// Once all that is being written now has been, the log tells of this.
    pub fn trace(&self, conn: Arc<Conn>, message: Arc<str>) {
        let mut waiting = self.waiting.lock();
        if waiting.traced.len() < TRACED {
            waiting.traced.push((conn, message));
        }
        drop(waiting);
        self.wake.notify_one();
    }

    async fn run(&self) {
        let mut batch = Vec::new();
        loop {
            self.wake.notified().await;
            let (time, traced) = {
                let mut waiting = self.waiting.lock();
                std::mem::swap(&mut batch, &mut waiting.conns);
                let time = std::mem::replace(&mut waiting.time, UNTIMED);
                (time, std::mem::take(&mut waiting.traced))
            };
            let (begun, crowd) = (Instant::now(), batch.len() >= CROWD);
            let mut written = 0;
            for (at, conn) in batch.drain(..).enumerate() {
                written += self.flush(&conn);
                drop(conn);
                if at % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
            self.bytes_out.increment(written);
            if time != UNTIMED {
                self.delivery_seconds.record(metrics::since(time));
            }
            for (conn, message) in traced {
                // What a client does not take at once is left to a writer.
                let waits = conn.outbox.waiting();
                debug!(message_id = &*message, connection = &*conn.id, waits, "written");
            }
            if crowd {
                tokio::time::sleep(begun.elapsed().min(REST)).await;
            }
        }
    }

    /// How many bytes were written.
    fn flush(&self, conn: &Arc<Conn>) -> u64 {
        let (mut all, mut written) = (0, 0);
        let Some(socket) = conn.socket() else {
            return 0; // only those that have one are handed over: until then the outbox counts as taken
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
        self.add(conn.clone(), UNTIMED);
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
