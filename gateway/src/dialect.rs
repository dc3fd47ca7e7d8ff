//! Wire formats. Only here, and in the files beneath, does anything know how commands and events look on the wire.
//!
//! A dialect is pure: bytes in, [`Inbound`] out; [`Answer`] or [`Push`] in, one ready WebSocket frame out, or what takes
//! its place in an HTTP answer.

use bytes::Bytes;

use crate::event::{Answer, BadFrame, Ending, Inbound, Push, Tag};

pub mod body;
mod echo;
mod events;
mod hub;
mod im;
pub mod json;
pub(crate) mod loose;
pub mod object;
mod opcode;
pub mod poll;
mod proto;
pub mod ws;
mod ws_id;

use json::Shape;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Json,
    Proto,
    /// Server-Sent Events.
    Events,
    /// On the way to the answer to a poll.
    Poll,
    /// Of article 001.
    Im,
    /// Of article 002, with the opcode of pushes: the same for all connections of a node.
    Opcode(u32),
    /// Of article 002: what comes goes back.
    Echo,
    /// Of article 003.
    Hub,
    /// Of article 004.
    WsId,
}

/// Who knows how far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// It is told cursors, and hands in the last one when it comes back.
    Client,
    /// It knows nothing of cursors.
    Server,
    /// It is given nothing of what was before.
    Nobody,
}

impl Dialect {
    pub const COUNT: usize = 9;
    const OF_SUBPROTOCOLS: [Dialect; 2] = [Dialect::Json, Dialect::Proto];

    /// Its place in tables of all dialects.
    pub fn index(self) -> usize {
        match self {
            Dialect::Json => 0,
            Dialect::Proto => 1,
            Dialect::Events => 2,
            Dialect::Poll => 3,
            Dialect::Im => 4,
            Dialect::Opcode(_) => 5,
            Dialect::Echo => 6,
            Dialect::Hub => 7,
            Dialect::WsId => 8,
        }
    }

    /// By their places.
    pub const NAMES: [&str; Dialect::COUNT] = [
        "herald.v1.json",
        "herald.v1.proto",
        "events",
        "poll",
        im::NAME,
        "opcode",
        "echo",
        hub::NAME,
        ws_id::NAME,
    ];

    /// Of those with a subprotocol this is it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    pub fn by_subprotocol(name: &str) -> Option<Dialect> {
        Self::OF_SUBPROTOCOLS.into_iter().find(|d| d.name() == name)
    }

    pub fn keeps(self) -> Keeps {
        match self {
            Dialect::Json | Dialect::Proto | Dialect::Events | Dialect::Poll => Keeps::Client,
            Dialect::Im | Dialect::Opcode(_) | Dialect::Hub | Dialect::WsId => Keeps::Server,
            Dialect::Echo => Keeps::Nobody,
        }
    }

    /// Its clients say in their first frame who they are, even where the upgrade has shown a token.
    pub fn logs_in(self) -> bool {
        self == Dialect::Hub
    }

    /// One who first comes is given what was sent to him before.
    pub fn begins_at_start(self) -> bool {
        self == Dialect::Im
    }

    /// Who sends something to himself gets it before he is told that it was sent.
    pub fn answers_after_delivery(self) -> bool {
        self == Dialect::WsId
    }

    /// Reads one data frame. `text` says whether it came as a text frame, and then it is valid UTF-8. `user` is who sent
    /// it; None: not known yet.
    pub fn decode(self, user: Option<&str>, text: bool, payload: Bytes) -> Result<Inbound, BadFrame> {
        match (self, text) {
            (Dialect::Json, true) => json::decode(&payload),
            (Dialect::Json, false) => Err(BadFrame::new(None, "this subprotocol takes text frames only")),
            (Dialect::Proto, false) => proto::decode(payload),
            (Dialect::Proto, true) => Err(BadFrame::new(None, "this subprotocol takes binary frames only")),
            (Dialect::Events | Dialect::Poll, _) => Err(BadFrame::new(None, "nothing is taken here")),
            (Dialect::Im, _) => Ok(im::decode(&payload)),
            (Dialect::Opcode(_), text) => Ok(opcode::decode(text, payload)),
            (Dialect::Echo, text) => Ok(echo::decode(text, payload)),
            (Dialect::Hub, _) => hub::decode(user, payload),
            (Dialect::WsId, _) => Ok(ws_id::decode(user.unwrap_or_default(), payload)),
        }
    }

    /// Empty: nothing is to be said.
    pub fn answer(self, tag: &Tag, answer: &Answer) -> Bytes {
        match self {
            Dialect::Json => json::answer(Shape::Frame, tag.id(), answer),
            Dialect::Proto => proto::answer(tag.id(), answer),
            Dialect::Events => events::answer(tag.id(), answer),
            // It is in the HTTP answer's own hands.
            Dialect::Poll => Bytes::new(),
            Dialect::Im => im::answer(answer),
            Dialect::Opcode(_) => opcode::answer(tag, answer),
            Dialect::Echo => echo::answer(answer),
            Dialect::Hub => hub::answer(tag, answer),
            Dialect::WsId => ws_id::answer(tag, answer),
        }
    }

    /// Empty: it is nothing to clients of this dialect.
    pub fn push(self, push: &Push) -> Bytes {
        match self {
            Dialect::Json => json::push(Shape::Frame, push),
            Dialect::Proto => proto::push(push),
            Dialect::Events => events::push(push),
            Dialect::Poll => poll::push(push),
            Dialect::Im => im::push(push),
            Dialect::Opcode(opcode) => opcode::push(opcode, push),
            // They hear nothing but themselves.
            Dialect::Echo => Bytes::new(),
            Dialect::Hub => hub::push(push),
            Dialect::WsId => ws_id::push(push),
        }
    }

    /// Whose own connections of this dialect a push is not for.
    pub fn leaves_out(self, push: &Push) -> Option<&str> {
        match self {
            Dialect::Im => im::leaves_out(push),
            _ => None,
        }
    }

    /// A sign of life, which makes the client give one where it can.
    pub fn ping(self) -> Bytes {
        match self {
            Dialect::Events => events::ping(),
            Dialect::Poll => Bytes::new(),
            _ => ws::ping(&[]),
        }
    }

    /// The last word.
    pub fn close(self, ending: Ending) -> Bytes {
        match self {
            Dialect::Events => events::close(ending),
            Dialect::Poll => Bytes::new(),
            _ => ws::ending(ending),
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
        self.frames[dialect.index()].get_or_insert_with(|| dialect.push(self.push))
    }
}

#[cfg(test)]
mod tests;
