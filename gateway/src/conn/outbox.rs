//! What waits to be written to one connection: bounded in bytes, filled without ever waiting, emptied by the writer.
//!
//! The outbox also is where a connection's end is decided, once: the first [`Outbox::close`] wins.

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
    writer: Option<Waker>,
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

/// What became of a pushed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Queued,
    /// No room: dropped.
    Full,
    /// The connection is closing: dropped.
    Closed,
}

/// What the writer has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    Write(Frames),
    /// Write this close frame, and nothing after it.
    Close(Bytes),
    /// Write nothing.
    End,
}

impl Outbox {
    pub fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Frames::default(),
                bytes: 0,
                phase: Phase::Open,
                held: false,
                writer: None,
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
    pub fn push_answer(&self, frame: Bytes) {
        if self.put(frame, self.limit + ANSWER_SLACK) == Pushed::Full {
            self.close(Ending::Code(CloseCode::SlowConsumer));
        }
    }

    fn put(&self, frame: Bytes, limit: usize) -> Pushed {
        let waker = {
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
            state.writer.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Pushed::Queued
    }

    /// Begins the end. A slow consumer's queue is dropped, for it would never be written; others get theirs first.
    pub fn close(&self, ending: Ending) {
        let (writer, reader) = {
            let mut state = self.state.lock();
            if state.phase != Phase::Open {
                return;
            }
            state.phase = Phase::Closing(ending);
            if ending == Ending::Code(CloseCode::SlowConsumer) || state.held {
                state.drop_queue();
            }
            (state.writer.take(), state.reader.take())
        };
        for waker in [writer, reader].into_iter().flatten() {
            waker.wake();
        }
    }

    /// From now on pushes wait, for they must not come before the welcome.
    pub fn hold(&self) {
        self.state.lock().held = true;
    }

    /// The welcome is written first, then what has waited. Without one, nothing that waits is written.
    pub fn release(&self, welcome: Option<Bytes>) {
        let writer = {
            let mut state = self.state.lock();
            state.held = false;
            match welcome {
                Some(frame) if state.phase == Phase::Open => {
                    state.bytes += frame.len();
                    state.queue.push_front(frame);
                }
                _ => state.drop_queue(),
            }
            state.writer.take()
        };
        if let Some(waker) = writer {
            waker.wake();
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

    // --- the writer's side ---

    /// Waits for work; `written` bytes of what was taken before have been written.
    pub async fn work(&self, written: usize) -> Work {
        let mut written = written;
        poll_fn(|cx| self.poll_work(std::mem::take(&mut written), cx)).await
    }

    fn poll_work(&self, written: usize, cx: &mut Context<'_>) -> Poll<Work> {
        let mut state = self.state.lock();
        state.bytes -= written;
        if !state.queue.is_empty() && !state.held {
            return Poll::Ready(Work::Write(std::mem::take(&mut state.queue)));
        }
        match state.phase {
            Phase::Open => {
                register(&mut state.writer, cx);
                Poll::Pending
            }
            Phase::Closing(ending) => Poll::Ready(Work::Close(match ending {
                Ending::Code(code) => ws::close(Some(code.code()), code.reason()),
                Ending::Peer(code) => ws::close(code, ""),
            })),
            Phase::Ended => Poll::Ready(Work::End),
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
        let reader = {
            let mut state = self.state.lock();
            state.phase = Phase::Ended;
            state.drop_queue();
            state.reader.take()
        };
        if let Some(waker) = reader {
            waker.wake();
        }
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
    use futures_util::FutureExt;

    use super::*;

    fn frame(n: usize) -> Bytes {
        vec![b'x'; n].into()
    }

    fn work(outbox: &Outbox) -> Option<Work> {
        outbox.work(0).now_or_never()
    }

    #[test]
    fn it_is_bounded_in_bytes_and_what_is_being_written_counts() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(60)), Pushed::Queued);
        assert_eq!(outbox.push(frame(60)), Pushed::Full);
        assert_eq!(outbox.push(frame(40)), Pushed::Queued);
        assert!(matches!(work(&outbox), Some(Work::Write(frames)) if frames.len() == 2));
        assert_eq!(outbox.push(frame(1)), Pushed::Full, "taken is not written");
        assert_eq!(outbox.work(100).now_or_never(), None);
        assert_eq!(outbox.push(frame(1)), Pushed::Queued);
    }

    #[test]
    fn a_frame_larger_than_all_passes_alone() {
        let outbox = Outbox::new(100);
        assert_eq!(outbox.push(frame(500)), Pushed::Queued);
        assert_eq!(outbox.push(frame(1)), Pushed::Full);
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
    fn the_first_end_wins_and_comes_after_what_waits() {
        let outbox = Outbox::new(100);
        outbox.push(frame(10));
        outbox.close(Ending::Code(CloseCode::Kicked));
        outbox.close(Ending::Code(CloseCode::ShuttingDown));
        assert_eq!(outbox.push(frame(10)), Pushed::Closed);
        assert!(matches!(work(&outbox), Some(Work::Write(frames)) if frames.len() == 1));
        let close = ws::close(Some(4102), "kicked");
        assert_eq!(work(&outbox), Some(Work::Close(close)));
        outbox.end();
        assert_eq!(work(&outbox), Some(Work::End));
    }

    #[test]
    fn a_slow_consumers_queue_is_dropped() {
        let outbox = Outbox::new(100);
        outbox.push(frame(10));
        outbox.close(Ending::Code(CloseCode::SlowConsumer));
        assert!(matches!(work(&outbox), Some(Work::Close(_))));
    }

    #[test]
    fn the_welcome_comes_first() {
        let outbox = Outbox::new(100);
        outbox.hold();
        outbox.push(frame(10));
        assert_eq!(work(&outbox), None);
        outbox.release(Some(frame(1)));
        assert!(matches!(work(&outbox), Some(Work::Write(frames)) if frames.iter().map(Bytes::len).eq([1, 10])));
        outbox.hold();
        outbox.push(frame(10));
        outbox.release(None);
        assert_eq!(work(&outbox), None);
        outbox.hold();
        outbox.push(frame(10));
        outbox.close(Ending::Code(CloseCode::ShuttingDown));
        assert!(matches!(work(&outbox), Some(Work::Close(_))));
    }

    #[test]
    fn answers_have_slack_and_then_end_the_connection() {
        let outbox = Outbox::new(100);
        outbox.push(frame(100));
        outbox.push_answer(frame(50));
        assert!(outbox.is_open());
        outbox.push_answer(frame(ANSWER_SLACK));
        assert_eq!(outbox.ending(), Some(Ending::Code(CloseCode::SlowConsumer)));
    }
}
