//! Server-Sent Events: each carries the very object that a WebSocket of the JSON dialect would have got, under the name
//! of its one field, so that both can share a handler. An `id` stands where a cursor is told.

use bytes::Bytes;
use serde::Serialize;

use super::json::{self, Shape};
use crate::event::{Answer, Ending, Push};

/// Room for the names of the fields and the line ends around an event's data.
const AROUND: usize = 32;

/// An event under construction.
pub(super) struct Builder {
    buffer: Vec<u8>,
    data: usize,
}

impl Builder {
    pub fn new(name: &str, id: Option<&str>, expected_data: usize) -> Self {
        let mut buffer = Vec::with_capacity(AROUND + name.len() + id.map_or(0, str::len) + expected_data);
        let mut field = |parts: &[&str]| parts.iter().for_each(|part| buffer.extend_from_slice(part.as_bytes()));
        field(&["event: ", name, "\n"]);
        if let Some(id) = id {
            field(&["id: ", id, "\n"]);
        }
        field(&["data: "]);
        Self {
            data: buffer.len(),
            buffer,
        }
    }

    pub fn data(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub fn finish(mut self) -> Bytes {
        // In JSON lines end only between tokens, where a space says the same. Here the end of a line would be that of
        // the data.
        for byte in &mut self.buffer[self.data..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.buffer.extend_from_slice(b"\n\n");
        self.buffer.into()
    }
}

pub(super) fn answer(id: Option<u32>, answer: &Answer) -> Bytes {
    let cursor = match answer {
        Answer::Connected(connected) => connected.cursor.as_deref(),
        _ => None,
    };
    json::answer(Shape::Event(cursor), id, answer)
}

pub(super) fn push(push: &Push) -> Bytes {
    let cursor = match push {
        Push::Cursor(cursor) => Some(cursor.as_str()),
        _ => None,
    };
    json::push(Shape::Event(cursor), push)
}

/// A comment, which clients pass over. No empty line after it: some take that for the end of an event.
pub(super) fn ping() -> Bytes {
    Bytes::from_static(b": ping\n")
}

/// What a WebSocket's close frame says. A client that is gone hears nothing.
pub(super) fn close(ending: Ending) -> Bytes {
    #[derive(Serialize)]
    struct Closed {
        code: u16,
        reason: &'static str,
    }
    let Ending::Code(code) = ending else {
        return Bytes::new();
    };
    let closed = Closed {
        code: code.code(),
        reason: code.reason(),
    };
    let mut event = Builder::new("closed", None, 64);
    json::write(event.data(), &closed);
    event.finish()
}

#[cfg(test)]
mod tests {
    use herald_proto::{CloseCode, Target};

    use super::*;
    use crate::event::{Body, Connected, Message};

    #[test]
    fn events_carry_what_frames_carry() {
        let notice = Push::Notice {
            code: "gap",
            message: "m",
        };
        let event = "event: notice\ndata: {\"notice\":{\"code\":\"gap\",\"message\":\"m\"}}\n\n";
        assert_eq!(push(&notice), event);
        let cursor = Push::Cursor("5f3a@0:9".to_owned());
        let event = "event: cursor\nid: 5f3a@0:9\ndata: {\"cursor\":\"5f3a@0:9\"}\n\n";
        assert_eq!(push(&cursor), event);
        let connected = Connected {
            cursor: Some("5f3a@0:7".to_owned()),
            ..Connected::default()
        };
        let event = answer(None, &Answer::Connected(Box::new(connected)));
        assert!(event.starts_with(b"event: connected\nid: 5f3a@0:7\ndata: {\"connected\":{\"user\":\"\""));
        assert_eq!(ping(), ": ping\n");
        let closed = close(Ending::Code(CloseCode::Kicked));
        assert_eq!(closed, "event: closed\ndata: {\"code\":4102,\"reason\":\"kicked\"}\n\n");
        assert!(close(Ending::Peer(None)).is_empty());
    }

    #[test]
    fn a_body_of_many_lines_is_one_line() {
        let message = Message {
            id: "1".to_owned(),
            from: None,
            to: Target::All,
            kind: None,
            body: Body {
                bytes: Bytes::from_static(b"{\r\n \"a\": \"b\\n\",\n\"c\":[\r]}"),
                content_type: String::new(),
            },
            original: None,
            time: 2,
            offset: None,
        };
        let event = push(&Push::Message(message));
        let data = "data: {\"message\":{\"id\":\"1\",\"to\":{\"all\":true},\"body\":{   \"a\": \"b\\n\", \"c\":[ ]},\"time\":2}}";
        assert_eq!(event, format!("event: message\n{data}\n\n"));
    }
}
