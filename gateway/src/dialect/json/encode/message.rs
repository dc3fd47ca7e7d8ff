//! Messages as they stand in pushes and in a history.

use std::borrow::Cow;

use bytes::Bytes;
use herald_proto::Target;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{Shape, object, write};
use crate::{
    dialect::body::InJson,
    event::{Body, History, Message},
};

#[derive(Serialize)]
pub(super) struct MessageOut<'a> {
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
struct HistoryOut<'a> {
    messages: Vec<MessageOut<'a>>,
    more: bool,
    gap: bool,
}

fn to<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    match target {
        Target::User(user) => map.serialize_entry("user", &**user)?,
        Target::Group(group) => map.serialize_entry("group", &**group)?,
        Target::All => map.serialize_entry("all", &true)?,
    }
    map.end()
}

/// Room for a frame with this body, or for its part of one.
pub(super) fn expected(body: &Body) -> usize {
    body.bytes.len() * 4 / 3 + 384
}

/// A message's object alone, as it stands in `history`; appended to `to`.
pub fn message(to: &mut Vec<u8>, message: &Message) {
    to.reserve(expected(&message.body));
    write(to, &message_out(message));
}

pub(super) fn history_out(shape: Shape<'_>, id: Option<u32>, history: &History) -> Bytes {
    let out = HistoryOut {
        messages: history.messages.iter().map(message_out).collect(),
        more: history.more,
        gap: history.gap,
    };
    let expected: usize = history.messages.iter().map(|message| expected(&message.body)).sum();
    object(shape, id, "history", &out, expected + 64)
}

/// `body`, or else `body_base64` and `content_type`.
pub(super) fn body_out(body: &Body) -> (Option<&RawValue>, Option<String>, Option<Cow<'_, str>>) {
    match body.in_json() {
        InJson::Plain(raw) => (Some(raw), None, None),
        InJson::Base64(text) => (None, Some(text), Some(body.content_type())),
    }
}

pub(super) fn message_out(message: &Message) -> MessageOut<'_> {
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
