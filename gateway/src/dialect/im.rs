//! The protobuf messages of article 001. What the original server did not look at passes through unharmed: a message is
//! rewritten on the level of the wire, only its `from` and `to` are the server's.

use bytes::Bytes;
use herald_proto::Target;

use super::{body, ws};
use crate::event::{Answer, Body, Command, Inbound, OCTETS, Original, Send, Tag};

mod deliver;
mod wire;

pub(super) use deliver::{leaves_out, push};
use wire::{Broken, Field, Fields, Value, with, without};

pub(super) const NAME: &str = "im";

// Numbers of fields.
const FROM_USERNAME: u32 = 2;
const FROM: u32 = 3;
const TO: u32 = 4;
const CONTENT: u32 = 5;
const CONTENT_TYPE: u32 = 6;
const TYPE: u32 = 7;
const MESSAGE_TYPE: u32 = 8;
const FILE: u32 = 11;
/// Those with texts, which receivers refuse where they are not UTF-8.
const TEXTS: [u32; 8] = [1, FROM_USERNAME, FROM, TO, CONTENT, TYPE, 9, 10];

/// In place of a user, the server itself.
const SYSTEM: &str = "System";
/// As the article spells it.
const HEARTBEAT: &str = "heatbeat";
const CALL: &str = "webrtc";

const TEXT: u32 = 1;
const PLAIN_FILE: u32 = 2;
const IMAGE: u32 = 3;
const AUDIO: u32 = 4;
const VIDEO: u32 = 5;

const TO_USER: u32 = 1;
const TO_GROUP: u32 = 2;

/// What of a message decides over it.
#[derive(Default)]
struct Parts<'a> {
    to: &'a str,
    content: &'a str,
    content_type: i32,
    kind: &'a str,
    message_type: i32,
    file: &'a [u8],
}

pub(super) fn decode(payload: &[u8]) -> Inbound {
    let faulty = |why: String| Inbound {
        tag: Tag::None,
        command: Command::Faulty(why),
    };
    let parts = match parts(payload) {
        Ok(parts) => parts,
        Err(why) => return faulty(why.to_string()),
    };
    if parts.kind == HEARTBEAT {
        return Inbound {
            tag: Tag::Plain,
            command: Command::Ping,
        };
    }
    match send(payload, &parts) {
        Ok(send) => Inbound {
            tag: Tag::None,
            command: Command::Send(Box::new(send)),
        },
        Err(why) => faulty(why),
    }
}

fn parts(payload: &[u8]) -> Result<Parts<'_>, Broken> {
    let mut parts = Parts::default();
    for field in Fields::of(payload) {
        let Field { number, value, .. } = field?;
        let text = match value {
            Value::Bytes(bytes) if TEXTS.contains(&number) => std::str::from_utf8(bytes).map_err(|_| Broken)?,
            _ => "",
        };
        match (number, value) {
            (TO, Value::Bytes(_)) => parts.to = text,
            (CONTENT, Value::Bytes(_)) => parts.content = text,
            (TYPE, Value::Bytes(_)) => parts.kind = text,
            (FILE, Value::Bytes(file)) => parts.file = file,
            (CONTENT_TYPE, Value::Varint(value)) => parts.content_type = int32(value),
            (MESSAGE_TYPE, Value::Varint(value)) => parts.message_type = int32(value),
            // Of another type than the message's, so that its readers could not read it.
            (1..=11, Value::Varint(_) | Value::Fixed) => return Err(Broken),
            (CONTENT_TYPE | MESSAGE_TYPE, Value::Bytes(_)) => return Err(Broken),
            _ => {}
        }
    }
    Ok(parts)
}

/// As whoever receives the message reads it: what stands beyond 32 bits counts for nothing. Otherwise it could be one thing here
/// and another there.
#[allow(clippy::cast_possible_truncation)] // that is what protobuf says of it
fn int32(varint: u64) -> i32 {
    varint as i32
}

fn send(payload: &[u8], parts: &Parts<'_>) -> Result<Send, String> {
    // Calls are signalled to one user, live: nobody else hears of them, and nothing of them is kept.
    let signal = parts.kind == CALL || parts.content_type > VIDEO.cast_signed();
    let to = match (parts.to, signal) {
        ("", true) => return Err("a call needs \"to\"".to_owned()),
        // The original looks for a user of the group's name, and says nothing when there is none.
        (_, true) if parts.message_type == TO_GROUP.cast_signed() => return Err("calls are to one user".to_owned()),
        // Garbage may well parse as fields that nobody knows.
        ("", false) if parts.content.is_empty() && parts.file.is_empty() && parts.content_type == 0 => {
            return Err("a message without content".to_owned());
        }
        ("", false) => Target::All,
        (group, false) if parts.message_type == TO_GROUP.cast_signed() => Target::group(group),
        (user, _) => Target::user(user),
    };
    // What is large is stored once: in the body, and not in the original.
    let (body, in_body) = if parts.file.is_empty() {
        (body::text(parts.content), CONTENT)
    } else {
        let body = Body {
            bytes: Bytes::copy_from_slice(parts.file),
            content_type: OCTETS.to_owned(),
        };
        (body, FILE)
    };
    let send = Send {
        to,
        body,
        original: Some(Original {
            dialect: NAME.to_owned(),
            bytes: without(payload, &[FROM, TO, in_body]),
        }),
        kind: None,
        durable: !signal,
        key: None,
        ttl: 0,
        copy: false,
    };
    send.check().map_err(|e| e.to_string())?;
    Ok(send)
}

pub(super) fn answer(answer: &Answer) -> Bytes {
    match answer {
        Answer::Connected(connected) => system(&connected.user, "welcome!"),
        Answer::Pong => {
            let mut pong = Vec::new();
            with(&mut pong, &[], &[(CONTENT, b"pong"), (TYPE, HEARTBEAT.as_bytes())]);
            ws::binary(&pong)
        }
        Answer::Error(error) => system("", &format!("{}: {}", error.code, error.message)),
        _ => Bytes::new(),
    }
}

fn system(to: &str, content: &str) -> Bytes {
    let mut message = Vec::new();
    let fields: [(u32, &[u8]); 3] = [
        (FROM, SYSTEM.as_bytes()),
        (TO, to.as_bytes()),
        (CONTENT, content.as_bytes()),
    ];
    with(&mut message, &[], &fields);
    ws::binary(&message)
}
