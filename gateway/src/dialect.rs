//! Wire formats. Only here, and in the files beneath, does anything know how commands and events look on the wire.
//!
//! A dialect is pure: bytes in, [`Inbound`] out; [`Answer`] or [`Push`] in, one ready WebSocket frame out, or what takes
//! its place in an HTTP answer.

use bytes::Bytes;

use crate::event::{Answer, BadFrame, Ending, Inbound, Push};

pub mod body;
mod events;
pub mod json;
pub mod object;
pub mod poll;
mod proto;
pub mod ws;

use json::Shape;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Json,
    Proto,
    /// Server-Sent Events.
    Events,
    /// On the way to the answer to a poll.
    Poll,
}

impl Dialect {
    pub const COUNT: usize = 4;
    pub const ALL: [Dialect; Dialect::COUNT] = [Dialect::Json, Dialect::Proto, Dialect::Events, Dialect::Poll];
    const OF_WEBSOCKETS: [Dialect; 2] = [Dialect::Json, Dialect::Proto];

    /// Of a WebSocket's dialect this is the subprotocol.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Json => "herald.v1.json",
            Dialect::Proto => "herald.v1.proto",
            Dialect::Events => "events",
            Dialect::Poll => "poll",
        }
    }

    pub fn by_subprotocol(name: &str) -> Option<Dialect> {
        Self::OF_WEBSOCKETS.into_iter().find(|d| d.name() == name)
    }

    /// Reads one data frame. `text` says whether it came as a text frame, and then it is valid UTF-8.
    pub fn decode(self, text: bool, payload: Bytes) -> Result<Inbound, BadFrame> {
        match (self, text) {
            (Dialect::Json, true) => json::decode(&payload),
            (Dialect::Json, false) => Err(BadFrame::new(None, "this subprotocol takes text frames only")),
            (Dialect::Proto, false) => proto::decode(payload),
            (Dialect::Proto, true) => Err(BadFrame::new(None, "this subprotocol takes binary frames only")),
            (Dialect::Events | Dialect::Poll, _) => Err(BadFrame::new(None, "nothing is taken here")),
        }
    }

    pub fn answer(self, id: Option<u32>, answer: &Answer) -> Bytes {
        match self {
            Dialect::Json => json::answer(Shape::Frame, id, answer),
            Dialect::Proto => proto::answer(id, answer),
            Dialect::Events => events::answer(id, answer),
            // It is in the HTTP answer's own hands.
            Dialect::Poll => Bytes::new(),
        }
    }

    pub fn push(self, push: &Push) -> Bytes {
        match self {
            Dialect::Json => json::push(Shape::Frame, push),
            Dialect::Proto => proto::push(push),
            Dialect::Events => events::push(push),
            Dialect::Poll => poll::push(push),
        }
    }

    /// A sign of life, which makes the client give one where it can.
    pub fn ping(self) -> Bytes {
        match self {
            Dialect::Json | Dialect::Proto => ws::ping(),
            Dialect::Events => events::ping(),
            Dialect::Poll => Bytes::new(),
        }
    }

    /// The last word.
    pub fn close(self, ending: Ending) -> Bytes {
        match self {
            Dialect::Json | Dialect::Proto => ws::ending(ending),
            Dialect::Events => events::close(ending),
            Dialect::Poll => Bytes::new(),
        }
    }
}

/// One push, encoded at most once for each dialect, however many connections hear it.
pub struct Encoded<'a> {
    push: &'a Push,
    frames: [Option<Bytes>; Dialect::COUNT],
}

impl<'a> Encoded<'a> {
    pub fn new(push: &'a Push) -> Self {
        Self {
            push,
            frames: [const { None }; Dialect::COUNT],
        }
    }

    pub fn frame(&mut self, dialect: Dialect) -> &Bytes {
        self.frames[dialect as usize].get_or_insert_with(|| dialect.push(self.push))
    }
}

#[cfg(test)]
mod tests;
