//! What waits to be written to one connection: bounded in bytes, filled without ever waiting, emptied by the flusher.
//!
//! The outbox also is where a connection's end is decided, once: the first [`Outbox::close`] wins. And it knows whether
//! somebody is about to write; whoever is told [`Handover::Needed`] must hand the connection to its flusher.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use herald_proto::CloseCode;
use parking_lot::Mutex;

use crate::event::Ending;

mod frames;

pub use frames::Frames;

/// Answers and pongs may go over the limit by this much: each is asked for by the client itself, who is stopped from
/// asking more by the limits on commands, and a full outbox must not swallow the answer that explains it.
const ANSWER_SLACK: usize = 64 << 10;

/// Frames may be as small as two bytes, and each takes some dozens beside: so not only their bytes are counted. For messages,
/// which have a hundred bytes and more, it is the bytes that count.
const LEAST_BYTES: usize = 32;
/// As many may wait in any case.
const FEW: usize = 64;

pub struct Outbox {
    state: Mutex<State>,
    limit: usize,
}

struct State {
    queue: Frames,
    /// Of the queue, and of what the writer has taken and not yet written.
    bytes: usize,
    phase: Phase,
    /// Nothing is written until the welcome is there.
    held: bool,
    taken: Taken,
    /// Of a writer that is held up by a client that does not read.
    writer: Option<Waker>,
    /// Of one who fills from the log and waits for room.
    filler: Option<Waker>,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    No,
    /// A flusher or a writer has this connection, and takes what is put in before it lets go.
    Yes,
    /// The same, and the first frame opens the connection: whatever becomes of it, the client must see that first.
    Opening,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The close frame is to be written, or is being written.
    Closing(Ending),
    /// Nothing will be written any more. How it ended, where a close frame was to be written.
    Ended(Option<Ending>),
}

/// Whether the connection must be handed to its flusher now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Handover {
    Needed,
    /// Somebody has it already, or there is nothing to write.
    No,
}

/// What became of a pushed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    Queued(Handover),
    /// No room: dropped.
    Full,
    /// The connection is closing: dropped.
    Closed,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    Write(Frames),
    /// A word that it ends so, and nothing after it.
    Close(Ending),
}

impl Outbox {
    pub fn new(limit: usize) -> Self {
        Self::made(limit, Taken::No)
    }

    /// As one that somebody has already, who will hand it to its flusher: until then nothing is written.
    pub fn taken(limit: usize) -> Self {
        Self::made(limit, Taken::Yes)
    }

    fn made(limit: usize, taken: Taken) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Frames::default(),
                bytes: 0,
                phase: Phase::Open,
                held: false,
                taken,
                writer: None,
                filler: None,
                reader: None,
            }),
            limit,
        }
    }

    /// Puts a push in, if there is room.
    pub fn push(&self, frame: Bytes) -> Pushed {
        self.put(frame, self.limit)
    }

    /// Puts an answer in. Without room for it the client does not read what it asks for: the connection ends.
    pub fn push_answer(&self, frame: Bytes) -> Handover {
        match self.put(frame, self.limit + ANSWER_SLACK) {
            Pushed::Queued(handover) => handover,
            Pushed::Full => self.close(Ending::Code(CloseCode::SlowConsumer)),
            Pushed::Closed => Handover::No,
        }
    }

    /// Puts a large answer in where it leaves room for pushes: at most half of all, except where nothing else waits.
    pub fn push_large(&self, frame: Bytes) -> Pushed {
        self.put(frame, self.limit / 2)
    }

    fn put(&self, frame: Bytes, limit: usize) -> Pushed {
        // Nothing to be said, in this dialect.
        if frame.is_empty() {
            return Pushed::Queued(Handover::No);
        }
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Pushed::Closed;
        }
        // A frame larger than the whole outbox passes when nothing else waits.
        let many = state.queue.len() >= FEW + limit / LEAST_BYTES;
        if state.bytes > 0 && (many || state.bytes + frame.len() > limit) {
            return Pushed::Full;
        }
        state.bytes += frame.len();
        state.queue.push_back(frame);
        Pushed::Queued(state.hand_over())
    }

    /// Begins the end. A slow consumer's queue is dropped, for it would never be written; others get theirs first.
    pub fn close(&self, ending: Ending) -> Handover {
        let (handover, wakers) = {
            let mut state = self.state.lock();
            if state.phase != Phase::Open {
                return Handover::No;
            }
            state.phase = Phase::Closing(ending);
            if ending == Ending::Code(CloseCode::SlowConsumer) || state.held {
                state.drop_queue();
            }
            state.held = false;
            let wakers = [state.writer.take(), state.filler.take(), state.reader.take()];
            (state.hand_over(), wakers)
        };
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        handover
    }

    /// From now on pushes wait, for they must not come before the welcome.
    pub fn hold(&self) {
        self.state.lock().held = true;
    }

    /// The welcome is written first, then what has waited. Without one, nothing that waits is written.
    pub fn release(&self, welcome: Option<Bytes>) -> Handover {
        let mut state = self.state.lock();
        state.held = false;
        match welcome {
            Some(frame) if state.phase == Phase::Open => {
                if !frame.is_empty() {
                    state.bytes += frame.len();
                    state.queue.push_front(frame);
                }
                state.hand_over()
            }
            _ => {
                state.drop_queue();
                Handover::No
            }
        }
    }

    /// Puts what opens the connection before all that waits, even where its end has begun. Whoever has it is to write it then.
    pub fn open(&self, first: Bytes) {
        let mut state = self.state.lock();
        if !first.is_empty() && !matches!(state.phase, Phase::Ended(_)) {
            state.bytes += first.len();
            state.queue.push_front(first);
            state.taken = Taken::Opening;
        }
    }

    pub fn ending(&self) -> Option<Ending> {
        match self.state.lock().phase {
            Phase::Closing(ending) => Some(ending),
            Phase::Ended(ending) => ending,
            Phase::Open => None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.state.lock().phase == Phase::Open
    }

    /// Bytes that wait, those under way to the socket included.
    pub fn waiting(&self) -> usize {
        self.state.lock().bytes
    }

    // --- the writing side: whoever has been handed the connection ---

    /// The next work; `written` bytes of what was taken before have been written. None lets the connection go: whoever
    /// puts something in next hands it over anew.
    pub fn next(&self, written: usize) -> Option<Work> {
        let mut state = self.state.lock();
        state.bytes -= written;
        self.wake_filler(&mut state);
        if !state.queue.is_empty() && !state.held {
            state.taken = Taken::Yes;
            return Some(Work::Write(std::mem::take(&mut state.queue)));
        }
        if let Phase::Closing(ending) = state.phase {
            return Some(Work::Close(ending));
        }
        state.taken = Taken::No;
        None
    }

    /// A part of what was taken has been written; the rest is to follow.
    pub fn wrote(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes -= bytes;
        self.wake_filler(&mut state);
    }

    fn wake_filler(&self, state: &mut State) {
        if state.bytes <= self.limit / 2
            && let Some(waker) = state.filler.take()
        {
            waker.wake();
        }
    }

    /// Resolves when the connection is to be closed, while the writer is held up by a client that does not read.
    pub async fn closing(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.phase == Phase::Open {
                register(&mut state.writer, cx);
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// Nothing will be written any more; what waits is dropped.
    pub fn end(&self) {
        let wakers = {
            let mut state = self.state.lock();
            state.phase = Phase::Ended(match state.phase {
                Phase::Closing(ending) => Some(ending),
                Phase::Open | Phase::Ended(_) => None,
            });
            state.drop_queue();
            [state.filler.take(), state.reader.take()]
        };
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    // --- the side of one who fills from the log ---

    /// Resolves when at least half of the outbox is free, so that live messages have room as well, or at the end.
    pub async fn room(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.phase == Phase::Open && state.bytes > self.limit / 2 {
                register(&mut state.filler, cx);
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    // --- the reader's side ---

    /// Resolves when the connection no longer is open.
    pub async fn not_open(&self) {
        poll_fn(|cx| self.poll_not_open(cx)).await;
    }

    pub fn poll_not_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_reader(cx, |phase| phase != Phase::Open)
    }

    /// Resolves when the writer has ended.
    pub async fn ended(&self) {
        poll_fn(|cx| self.poll_reader(cx, |phase| matches!(phase, Phase::Ended(_)))).await;
    }

    fn poll_reader(&self, cx: &mut Context<'_>, done: impl Fn(Phase) -> bool) -> Poll<()> {
        let mut state = self.state.lock();
        if done(state.phase) {
            Poll::Ready(())
        } else {
            register(&mut state.reader, cx);
            Poll::Pending
        }
    }
}

impl State {
    fn hand_over(&mut self) -> Handover {
        if self.taken != Taken::No || self.held {
            return Handover::No;
        }
        self.taken = Taken::Yes;
        Handover::Needed
    }

    fn drop_queue(&mut self) {
        let opens = self.taken == Taken::Opening;
        let opens = opens.then(|| self.queue.iter().next().cloned()).flatten();
        self.bytes -= self.queue.bytes();
        self.queue = Frames::default();
        if let Some(first) = opens {
            self.bytes += first.len();
            self.queue.push_front(first);
        }
    }
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests;
