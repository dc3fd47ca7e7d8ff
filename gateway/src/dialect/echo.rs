//! The echo of article 002: every message goes back as it came.

use bytes::Bytes;

use super::ws;
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
        // Whatever it were told would look like an echo: frames that come too fast are not given back, and the close code says why.
        _ => Bytes::new(),
    }
}
