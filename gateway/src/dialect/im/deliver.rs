//! What of a message becomes a frame of article 001: the sender's own again, with ends that are the server's, or a
//! translation of another dialect's.

use std::borrow::Cow;

use bytes::Bytes;
use herald_proto::Target;

use super::{
    AUDIO, CONTENT, CONTENT_TYPE, FILE, FROM, FROM_USERNAME, IMAGE, MESSAGE_TYPE, NAME, PLAIN_FILE, SYSTEM, TEXT, TO,
    TO_GROUP, TO_USER, VIDEO,
    wire::{self, with},
};
use crate::{
    dialect::ws::Builder,
    event::{Message, Push},
};

/// In place of a user or group of the server's name.
const NOT_THE_SYSTEM: &str = "System (not the server)";

pub(in crate::dialect) fn push(push: &Push) -> Bytes {
    let Push::Message(message) = push else {
        return Bytes::new();
    };
    let (from, to) = ends(message);
    match &message.original {
        Some(original) if original.dialect == NAME => again(message, &original.bytes, from, to),
        _ => translated(message, from, to),
    }
}

/// To its members a group's message comes from the group.
fn ends(message: &Message) -> (&str, &str) {
    let from = sender(message);
    match &message.to {
        Target::User(user) => (from, user),
        Target::Group(group) => (named(group), from),
        Target::All => (from, ""),
    }
}

/// The application speaks as the server does.
fn sender(message: &Message) -> &str {
    message.from.as_deref().map_or(SYSTEM, named)
}

/// Whoever has the server's name shall not pass for it.
fn named(id: &str) -> &str {
    if id == SYSTEM { NOT_THE_SYSTEM } else { id }
}

fn again(message: &Message, original: &[u8], from: &str, to: &str) -> Bytes {
    let body = &message.body;
    let content: String;
    let in_body = if body.content_type.is_empty() {
        content = serde_json::from_slice(&body.bytes).unwrap_or_default();
        (CONTENT, content.as_bytes())
    } else {
        (FILE, &body.bytes[..])
    };
    let mut builder = Builder::new(original.len() + body.bytes.len() + 64);
    with(
        builder.payload(),
        original,
        &[(FROM, from.as_bytes()), (TO, to.as_bytes()), in_body],
    );
    builder.binary()
}

/// A message of another dialect: text, or a file of the kind that its content type tells.
fn translated(message: &Message, from: &str, to: &str) -> Bytes {
    let body = &message.body;
    let is_text = body.content_type.is_empty() || body.content_type.starts_with("text/");
    let content_type = match body.content_type.split('/').next() {
        _ if is_text => TEXT,
        Some("image") => IMAGE,
        Some("audio") => AUDIO,
        Some("video") => VIDEO,
        _ => PLAIN_FILE,
    };
    let content = match (is_text, body.content_type.is_empty()) {
        (true, true) => body.as_text(),
        (true, false) => String::from_utf8_lossy(&body.bytes),
        (false, _) => Cow::Borrowed(""),
    };
    let file: &[u8] = if is_text { &[] } else { &body.bytes };
    let mut numbers = Vec::new();
    wire::put_number(&mut numbers, CONTENT_TYPE, content_type);
    let message_type = match &message.to {
        Target::Group(_) => TO_GROUP,
        Target::User(_) | Target::All => TO_USER,
    };
    wire::put_number(&mut numbers, MESSAGE_TYPE, message_type);
    let mut builder = Builder::new(body.bytes.len() + 128);
    let sender = sender(message);
    let fields: [(u32, &[u8]); 5] = [
        (FROM_USERNAME, sender.as_bytes()),
        (FROM, from.as_bytes()),
        (TO, to.as_bytes()),
        (CONTENT, content.as_bytes()),
        (FILE, file),
    ];
    with(builder.payload(), &numbers, &fields);
    builder.binary()
}

/// Who sends to a group has seen it.
pub(in crate::dialect) fn leaves_out(push: &Push) -> Option<&str> {
    match push {
        Push::Message(Message {
            to: Target::Group(_),
            from,
            ..
        }) => from.as_deref(),
        _ => None,
    }
}
