//! Wire formats. Only here, and in the files beneath, does anything know how commands and events look on the wire.
//!
//! A dialect is pure: bytes in, [`Inbound`] out; [`Answer`] or [`Push`] in, one ready WebSocket frame out.

use bytes::Bytes;

use crate::event::{Answer, BadFrame, Inbound, Push};

pub mod body;
mod json;
pub mod object;
mod proto;
pub mod ws;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Json,
    Proto,
}

impl Dialect {
    pub const COUNT: usize = 2;
    const ALL: [Dialect; Dialect::COUNT] = [Dialect::Json, Dialect::Proto];

    pub fn subprotocol(self) -> &'static str {
        match self {
            Dialect::Json => "herald.v1.json",
            Dialect::Proto => "herald.v1.proto",
        }
    }

    pub fn by_subprotocol(name: &str) -> Option<Dialect> {
        Self::ALL.into_iter().find(|d| d.subprotocol() == name)
    }

    /// Reads one data frame. `text` says whether it came as a text frame, and then it is valid UTF-8.
    pub fn decode(self, text: bool, payload: Bytes) -> Result<Inbound, BadFrame> {
        match (self, text) {
            (Dialect::Json, true) => json::decode(&payload),
            (Dialect::Json, false) => Err(BadFrame::new(None, "this subprotocol takes text frames only")),
            (Dialect::Proto, false) => proto::decode(payload),
            (Dialect::Proto, true) => Err(BadFrame::new(None, "this subprotocol takes binary frames only")),
        }
    }

    pub fn answer(self, id: Option<u32>, answer: &Answer) -> Bytes {
        match self {
            Dialect::Json => json::answer(id, answer),
            Dialect::Proto => proto::answer(id, answer),
        }
    }

    pub fn push(self, push: &Push) -> Bytes {
        match self {
            Dialect::Json => json::push(push),
            Dialect::Proto => proto::push(push),
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
