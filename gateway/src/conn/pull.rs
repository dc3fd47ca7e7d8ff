//! The writing side of a connection whose client gets an HTTP answer: whoever makes the answer takes what waits.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    Conn,
    outbox::{Frames, Work},
    sink::Sink,
};
use crate::event::Ending;

pub struct Pull {
    conn: Arc<Conn>,
    /// Taken from the outbox at once, of so many bytes: they count there until all of them have gone on.
    frames: Frames,
    bytes: usize,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    Frame(Bytes),
    /// The connection ends so; nothing comes after it.
    End(Ending),
}

impl Pull {
    /// The only one of a connection, whose sink is an answer.
    pub fn new(conn: Arc<Conn>) -> Self {
        Self {
            conn,
            frames: Frames::default(),
            bytes: 0,
        }
    }

    pub fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        // Who takes what waits is alive.
        self.conn.saw_frame();
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Poll::Ready(Pulled::Frame(frame));
            }
            // First, so that what is put in from now on wakes.
            if let Sink::Answer(answer) = &self.conn.sink {
                answer.register(cx.waker());
            }
            match ready!(self.poll_work()) {
                Work::Write(frames) => {
                    self.bytes = frames.bytes();
                    self.frames = frames;
                }
                Work::Close(ending) => return Poll::Ready(Pulled::End(ending)),
            }
        }
    }

    fn poll_work(&mut self) -> Poll<Work> {
        let written = std::mem::take(&mut self.bytes);
        self.conn.outbox.next(written).map_or(Poll::Pending, Poll::Ready)
    }

    pub async fn next(&mut self) -> Pulled {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Option<Pulled> {
        // Nothing is to be woken: whoever finds nothing here asks by `next` before it waits.
        match self.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(pulled) => Some(pulled),
            Poll::Pending => None,
        }
    }
}

#[cfg(test)]
mod tests;
