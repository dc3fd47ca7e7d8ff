//! What clients are sent.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::presence;
use crate::{
    dialect::{events, ws::Builder},
    event::{Answer, Push},
};

mod message;

pub use message::message;
use message::{body_out, expected, history_out, message_out};

#[derive(Serialize)]
struct ConnectedOut<'a> {
    user: &'a str,
    connection: &'a str,
    node: &'a str,
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    resumed: bool,
    gap: bool,
    ping: u32,
    expires: u64,
    time: u64,
}

#[derive(Serialize)]
struct SentOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
}

#[derive(Serialize)]
struct GroupOut<'a> {
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<bool>,
}

#[derive(Serialize)]
struct NoticeOut<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct RefreshedOut {
    expires: u64,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: &'a str,
    message: &'a str,
    retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
}

#[derive(Serialize)]
struct ResultOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
}

/// What an object is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape<'a> {
    /// A WebSocket frame.
    Frame,
    /// An event of a stream, with its id if it has one.
    Event(Option<&'a str>),
    /// Nothing.
    Bare,
}

/// `{"id":…,"<verb>":<value>}`; the id stands first where there is one.
fn object(shape: Shape<'_>, id: Option<u32>, verb: &str, value: &impl Serialize, expected: usize) -> Bytes {
    struct Out<'a, T> {
        id: Option<u32>,
        verb: &'a str,
        value: &'a T,
    }
    impl<T: Serialize> Serialize for Out<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            if let Some(id) = self.id {
                map.serialize_entry("id", &id)?;
            }
            map.serialize_entry(self.verb, self.value)?;
            map.end()
        }
    }
    let out = Out { id, verb, value };
    match shape {
        Shape::Frame => {
            let mut builder = Builder::new(expected);
            write(builder.payload(), &out);
            builder.text()
        }
        Shape::Event(event_id) => {
            let mut event = events::Builder::new(verb, event_id, expected);
            write(event.data(), &out);
            event.finish()
        }
        Shape::Bare => {
            let mut text = Vec::with_capacity(expected);
            write(&mut text, &out);
            text.into()
        }
    }
}

pub(in crate::dialect) fn write(to: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(to, value);
    debug_assert!(written.is_ok(), "writing to memory, with string keys only, cannot fail");
}

pub fn answer(shape: Shape<'_>, id: Option<u32>, answer: &Answer) -> Bytes {
    match answer {
        Answer::Connected(c) => {
            let out = ConnectedOut {
                user: &c.user,
                connection: &c.connection,
                node: &c.node,
                groups: &c.groups,
                cursor: c.cursor.as_deref(),
                resumed: c.resumed,
                gap: c.gap,
                ping: c.ping,
                expires: c.expires,
                time: c.time,
            };
            object(shape, id, "connected", &out, 256)
        }
        Answer::Sent(s) => {
            let out = SentOut {
                id: s.id.as_deref(),
                offset: s.offset.as_deref(),
                online: s.online,
                duplicate: s.duplicate,
                time: s.time,
            };
            object(shape, id, "sent", &out, 192)
        }
        Answer::Joined { group } => object(shape, id, "joined", &GroupOut { group, joined: None }, 64),
        Answer::Left { group } => object(shape, id, "left", &GroupOut { group, joined: None }, 64),
        Answer::Refreshed { expires } => object(shape, id, "refreshed", &RefreshedOut { expires: *expires }, 64),
        Answer::History(history) => history_out(shape, id, history),
        Answer::Presence(presence) => {
            let out = presence::presence(presence);
            object(shape, id, "presence", &out, out.expected())
        }
        Answer::Watching(users) => {
            let out = presence::watching(users);
            object(shape, id, "watching", &out, out.expected())
        }
        Answer::Result(result) => {
            let (body, body_base64, content_type) = body_out(result);
            let out = ResultOut {
                body,
                body_base64,
                content_type,
            };
            object(shape, id, "result", &out, expected(result))
        }
        Answer::Pong => object(shape, id, "pong", &serde_json::Map::new(), 32),
        // Nothing asks for it here.
        Answer::Echo { .. } => Bytes::new(),
        Answer::Error(e) => {
            let out = ErrorOut {
                code: e.code.as_str(),
                message: &e.message,
                retry: e.code.retry(),
                after_ms: e.after_ms,
            };
            object(shape, id, "error", &out, 128)
        }
    }
}

pub(in crate::dialect) fn push(shape: Shape<'_>, push: &Push) -> Bytes {
    match push {
        Push::Message(message) => object(shape, None, "message", &message_out(message), expected(&message.body)),
        Push::Group { group, joined } => {
            let joined = Some(*joined);
            object(shape, None, "group", &GroupOut { group, joined }, 64)
        }
        Push::Presence { user, online, since } => {
            let (online, since) = (*online, *since);
            object(
                shape,
                None,
                "presence",
                &presence::ChangeOut { user, online, since },
                224,
            )
        }
        Push::Cursor(cursor) => object(shape, None, "cursor", cursor, 64),
        Push::Notice { code, message } => object(shape, None, "notice", &NoticeOut { code, message }, 128),
    }
}
