//! What waits to be written to one connection: bounded in bytes, filled without ever waiting, emptied by the flusher.
//!
//! The outbox also is where a connection's end is decided, once: the first [`Outbox::close`] wins. And it knows whether
//! somebody is about to write; whoever is told [`Handover::Needed`] must hand the connection to its flusher.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use herald_proto::CloseCode;
use parking_lot::Mutex;

use crate::{dialect::ws, event::Ending};

/// Answers and pongs may go over the limit by this much: each is asked for by the client itself, who is stopped from
/// asking more by the limits on commands, and a full outbox must not swallow the answer that explains it.
const ANSWER_SLACK: usize = 64 << 10;

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
    /// A flusher or a writer has this connection, and takes what is put in before it lets go.
    taken: bool,
    /// Of a writer that is held up by a client that does not read.
    writer: Option<Waker>,
    /// Of one who fills from the log and waits for room.
    filler: Option<Waker>,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The close frame is to be written, or is being written.
    Closing(Ending),
    /// Nothing will be written any more.
    Ended,
}

/// Frames in order. Mostly one waits at a time: then nothing is allocated for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frames {
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
}

impl From<Bytes> for Frames {
    fn from(frame: Bytes) -> Self {
        Self {
            first: Some(frame),
            rest: VecDeque::new(),
        }
    }
}

impl Frames {
    fn push_back(&mut self, frame: Bytes) {
        if self.first.is_none() {
            self.first = Some(frame);
        } else {
            self.rest.push_back(frame);
        }
    }

    fn push_front(&mut self, frame: Bytes) {
        if let Some(second) = self.first.replace(frame) {
            self.rest.push_front(second);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub fn bytes(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.rest)
    }

    /// Takes `bytes` from the front, whole frames and a part of one.
    pub fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = &mut self.first {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.first = self.rest.pop_front();
        }
    }
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
    /// This close frame, and nothing after it.
    Close(Bytes),
}

impl Outbox {
    pub fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Frames::default(),
                bytes: 0,
                phase: Phase::Open,
                held: false,
                taken: false,
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
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Pushed::Closed;
        }
        // A frame larger than the whole outbox passes when nothing else waits.
        if state.bytes > 0 && state.bytes + frame.len() > limit {
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
                state.bytes += frame.len();
                state.queue.push_front(frame);
                state.hand_over()
            }
            _ => {
                state.drop_queue();
                Handover::No
            }
        }
    }

    pub fn ending(&self) -> Option<Ending> {
        match self.state.lock().phase {
            Phase::Closing(ending) => Some(ending),
            Phase::Open | Phase::Ended => None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.state.lock().phase == Phase::Open
    }

    // --- the writing side: whoever has been handed the connection ---

    /// The next work; `written` bytes of what was taken before have been written. None lets the connection go: whoever
    /// puts something in next hands it over anew.
    pub fn next(&self, written: usize) -> Option<Work> {
        let mut state = self.state.lock();
        state.bytes -= written;
        self.wake_filler(&mut state);
        if !state.queue.is_empty() && !state.held {
            return Some(Work::Write(std::mem::take(&mut state.queue)));
        }
        if let Phase::Closing(ending) = state.phase {
            return Some(Work::Close(match ending {
                Ending::Code(code) => ws::close(Some(code.code()), code.reason()),
                Ending::Peer(code) => ws::close(code, ""),
            }));
        }
        state.taken = false;
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
            state.phase = Phase::Ended;
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
        poll_fn(|cx| self.poll_reader(cx, |phase| phase != Phase::Open)).await;
    }

    /// Resolves when the writer has ended.
    pub async fn ended(&self) {
        poll_fn(|cx| self.poll_reader(cx, |phase| phase == Phase::Ended)).await;
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
        if self.taken || self.held {
            return Handover::No;
        }
        self.taken = true;
        Handover::Needed
    }

    fn drop_queue(&mut self) {
        self.bytes -= self.queue.bytes();
        self.queue = Frames::default();
    }
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: usize) -> Bytes {
        vec![b'x'; n].into()
    }

    const QUEUED: Pushed = Pushed::Queued(Handover::No);
    const HANDED: Pushed = Pushed::Queued(Handover::Needed);

    #[test]
    fn it_is_bounded_in_bytes_and_what_is_being_written_counts() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(60)), HANDED);
        assert_eq!(outbox.push(frame(60)), Pushed::Full);
        assert_eq!(outbox.push(frame(40)), QUEUED);
        assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.len() == 2));
        assert_eq!(outbox.push(frame(1)), Pushed::Full, "taken is not written");
        assert_eq!(outbox.next(100), None);
        assert_eq!(outbox.push(frame(1)), HANDED, "it was let go");
    }

    #[test]
    fn a_frame_larger_than_all_passes_alone() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(500)), HANDED);
        assert_eq!(outbox.push(frame(1)), Pushed::Full);
    }

    #[test]
    fn large_answers_leave_room_for_pushes() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push_large(frame(80)), HANDED, "alone it passes");
        assert_eq!(outbox.push_large(frame(1)), Pushed::Full);
        assert_eq!(outbox.push(frame(20)), QUEUED);
        assert!(matches!(outbox.next(0), Some(Work::Write(_))));
        outbox.wrote(70);
        assert_eq!(outbox.push_large(frame(20)), QUEUED);
        assert_eq!(outbox.push_large(frame(1)), Pushed::Full);
    }

    #[test]
    fn frames_are_taken_from_the_front() {
        let mut frames = Frames::default();
        for n in [3, 4, 5] {
            frames.push_back(frame(n));
        }
        frames.push_front(frame(2));
        frames.advance(6);
        assert!(frames.iter().map(Bytes::len).eq([3, 5]));
        frames.advance(8);
        assert!(frames.is_empty());
    }

    #[test]
    fn one_at_a_time_has_the_connection_and_nothing_is_left_behind() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(1)), HANDED);
        assert_eq!(outbox.push(frame(2)), QUEUED);
        assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.len() == 2));
        assert_eq!(
            outbox.push(frame(3)),
            QUEUED,
            "the one who writes will come back for it"
        );
        assert_eq!(outbox.close(Ending::Code(CloseCode::Kicked)), Handover::No);
        assert!(matches!(outbox.next(3), Some(Work::Write(frames)) if frames.len() == 1));
        assert!(matches!(outbox.next(3), Some(Work::Close(_))));
    }

    #[test]
    fn the_first_end_wins_and_comes_after_what_waits() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(10)), HANDED);
        assert_eq!(outbox.close(Ending::Code(CloseCode::Kicked)), Handover::No);
        assert_eq!(outbox.close(Ending::Code(CloseCode::ShuttingDown)), Handover::No);
        assert_eq!(outbox.push(frame(10)), Pushed::Closed);
        assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.len() == 1));
        let close = ws::close(Some(4102), "kicked");
        assert_eq!(outbox.next(10), Some(Work::Close(close)));
        outbox.end();
        assert_eq!(outbox.next(0), None);
    }

    #[test]
    fn a_slow_consumers_queue_is_dropped() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(10)), HANDED);
        assert_eq!(outbox.close(Ending::Code(CloseCode::SlowConsumer)), Handover::No);
        assert!(matches!(outbox.next(0), Some(Work::Close(_))));
    }

    #[test]
    fn the_welcome_comes_first() {
        let outbox = Outbox::new(100);
        outbox.hold();
        assert_eq!(outbox.push(frame(10)), QUEUED, "held back");
        assert_eq!(outbox.release(Some(frame(1))), Handover::Needed);
        assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.iter().map(Bytes::len).eq([1, 10])));
        assert_eq!(outbox.next(11), None);
        outbox.hold();
        assert_eq!(outbox.push(frame(10)), QUEUED);
        assert_eq!(outbox.release(None), Handover::No);
        assert_eq!(outbox.next(0), None);
        outbox.hold();
        assert_eq!(outbox.push(frame(10)), QUEUED);
        assert_eq!(outbox.close(Ending::Code(CloseCode::ShuttingDown)), Handover::Needed);
        assert!(matches!(outbox.next(0), Some(Work::Close(_))));
    }

    #[test]
    fn answers_have_slack_and_then_end_the_connection() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(100)), HANDED);
        assert_eq!(outbox.push_answer(frame(50)), Handover::No);
        assert!(outbox.is_open());
        assert_eq!(outbox.push_answer(frame(ANSWER_SLACK)), Handover::No);
        assert_eq!(outbox.ending(), Some(Ending::Code(CloseCode::SlowConsumer)));
    }
}
