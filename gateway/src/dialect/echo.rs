//! The echo of article 002: every message goes back as it came.

use bytes::Bytes;

use super::{
    json::{self, Shape},
    ws,
};
use crate::event::{Answer, Command, Inbound, Tag};

pub(super) fn decode(text: bool, payload: Bytes) -> Inbound {
    Inbound {
        tag: Tag::Plain,
        command: Command::Echo { text, payload },
    }
}

pub(super) fn answer(answer: &Answer) -> Bytes {
    match answer {
        Answer::Echo { text: true, payload } => ws::text(payload),
        Answer::Echo { text: false, payload } => ws::binary(payload),
        // A client that is limited is told so, rather than that a frame is lost without a word.
        Answer::Error(_) => json::answer(Shape::Frame, None, answer),
        _ => Bytes::new(),
    }
}
