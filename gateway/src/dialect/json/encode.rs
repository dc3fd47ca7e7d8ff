//! What clients are sent.

use std::borrow::Cow;

use bytes::Bytes;
use herald_proto::Target;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::presence;
use crate::{
    dialect::{body::InJson, events, ws::Builder},
    event::{Answer, Body, History, Message, Push},
};

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
struct MessageOut<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(serialize_with = "to")]
    to: &'a Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
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

#[derive(Serialize)]
struct HistoryOut<'a> {
    messages: Vec<MessageOut<'a>>,
    more: bool,
    gap: bool,
}

fn to<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    match target {
        Target::User(user) => map.serialize_entry("user", user)?,
        Target::Group(group) => map.serialize_entry("group", group)?,
        Target::All => map.serialize_entry("all", &true)?,
    }
    map.end()
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

/// Room for a frame with this body, or for its part of one.
fn expected(body: &Body) -> usize {
    body.bytes.len() * 4 / 3 + 384
}

/// A message's object alone, as it stands in `history`; appended to `to`.
pub fn message(to: &mut Vec<u8>, message: &Message) {
    to.reserve(expected(&message.body));
    write(to, &message_out(message));
}

fn history_out(shape: Shape<'_>, id: Option<u32>, history: &History) -> Bytes {
    let out = HistoryOut {
        messages: history.messages.iter().map(message_out).collect(),
        more: history.more,
        gap: history.gap,
    };
    let expected: usize = history.messages.iter().map(|message| expected(&message.body)).sum();
    object(shape, id, "history", &out, expected + 64)
}

/// `body`, or else `body_base64` and `content_type`.
fn body_out(body: &Body) -> (Option<&RawValue>, Option<String>, Option<Cow<'_, str>>) {
    match body.in_json() {
        InJson::Plain(raw) => (Some(raw), None, None),
        InJson::Base64(text) => (None, Some(text), Some(body.content_type())),
    }
}

fn message_out(message: &Message) -> MessageOut<'_> {
    let (body, body_base64, content_type) = body_out(&message.body);
    MessageOut {
        id: &message.id,
        from: message.from.as_deref(),
        to: &message.to,
        kind: message.kind.as_deref(),
        body,
        body_base64,
        content_type,
        time: message.time,
        offset: message.offset.as_deref(),
    }
}
