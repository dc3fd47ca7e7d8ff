//! The receivers' side: their parsers are not the gateway's.

use bytes::Bytes;
use herald_proto::{Target, client as pb, limits::JSON_DEPTH};
use prost::Message as _;
use serde_json::Value;

use crate::{
    dialect::{
        Dialect,
        poll::{self, Item},
    },
    event::{Message, Push, Send},
};

const ALL: [Dialect; 9] = [
    Dialect::Json,
    Dialect::Proto,
    Dialect::Events,
    Dialect::Poll,
    Dialect::Im,
    Dialect::Opcode(1),
    Dialect::Echo,
    Dialect::Hub,
    Dialect::WsId,
];

/// Of article 001, as its clients have it.
#[derive(Clone, PartialEq, prost::Message)]
struct Im {
    #[prost(string, tag = "1")]
    avatar: String,
    #[prost(string, tag = "2")]
    from_username: String,
    #[prost(string, tag = "3")]
    from: String,
    #[prost(string, tag = "4")]
    to: String,
    #[prost(string, tag = "5")]
    content: String,
    #[prost(int32, tag = "6")]
    content_type: i32,
    #[prost(string, tag = "7")]
    kind: String,
    #[prost(int32, tag = "8")]
    message_type: i32,
    #[prost(string, tag = "9")]
    url: String,
    #[prost(string, tag = "10")]
    file_suffix: String,
    #[prost(bytes = "vec", tag = "11")]
    file: Vec<u8>,
}

/// Whether it is a text frame, and what is in it.
pub(super) fn opened(frame: &Bytes) -> (bool, &[u8]) {
    let (length, start) = match frame[1] {
        126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
        127 => {
            let length = u64::from_be_bytes(frame[2..10].try_into().expect("eight bytes"));
            (usize::try_from(length).expect("a length"), 10)
        }
        short => (usize::from(short), 2),
    };
    assert_eq!(frame.len(), start + length, "the head tells the length");
    assert!(matches!(frame[0], 0x81 | 0x82), "a whole message: {:x}", frame[0]);
    (frame[0] == 0x81, &frame[start..])
}

/// What is in a frame of the dialect, where that is JSON.
pub(super) fn can_be_read(dialect: Dialect, frame: &Bytes) -> Option<Value> {
    if frame.is_empty() {
        return None;
    }
    let value = |json: &[u8]| {
        let value: Value = serde_json::from_slice(json).expect("JSON");
        assert!(value.is_object());
        value
    };
    let (text, payload) = match dialect {
        Dialect::Events => return Some(value(event(frame))),
        Dialect::Poll => {
            return match poll::item(frame.clone()) {
                Some(Item::Message { json, .. }) => Some(value(&json)),
                _ => None,
            };
        }
        _ => opened(frame),
    };
    assert!(!text || std::str::from_utf8(payload).is_ok());
    match dialect {
        Dialect::Proto => drop(pb::ServerFrame::decode(payload).expect("a frame")),
        Dialect::Im => drop(Im::decode(payload).expect("a message")),
        Dialect::Opcode(_) => return Some(value(payload.get(4..).expect("an opcode"))),
        _ => return Some(value(payload)),
    }
    None
}

/// The one event's data.
fn event(frame: &Bytes) -> &[u8] {
    let text = std::str::from_utf8(frame).expect("UTF-8");
    let text = text.strip_suffix("\n\n").expect("an end");
    let data = text.split(['\n', '\r']).map(|line| match line.split_once(": ") {
        Some(("data", data)) => Some(data.as_bytes()),
        Some(("event" | "id", _)) => None,
        other => panic!("{other:?}"),
    });
    let data: Vec<&[u8]> = data.flatten().collect();
    assert_eq!(data.len(), 1, "one line of data");
    data[0]
}

fn message(user: &str, send: &Send) -> Message {
    Message {
        id: "0197".to_owned(),
        from: Some(user.to_owned()),
        to: send.to.clone(),
        kind: send.kind.clone(),
        body: send.body.clone(),
        original: send.original.clone().map(Box::new),
        time: 1,
        offset: Some("5f3a.0:7".to_owned()),
    }
}

pub(super) fn all_can_read(user: &str, send: &Send) {
    send.check().expect("ids and labels");
    let push = Push::Message(message(user, send));
    for dialect in ALL {
        let frame = dialect.push(&push);
        let Some(mut read) = can_be_read(dialect, &frame) else {
            continue;
        };
        if matches!(dialect, Dialect::Json | Dialect::Events) {
            read = read["message"].take();
        }
        match dialect {
            // Of these, senders of the same dialect write the frame themselves.
            Dialect::Hub | Dialect::WsId if send.original.is_some() => continue,
            Dialect::WsId => {
                assert_eq!(read["sender"].to_string(), user);
                continue;
            }
            _ => {}
        }
        assert_eq!(read["from"], user, "{dialect:?}");
        let (key, id) = match &send.to {
            Target::User(user) => ("user", Value::from(&**user)),
            Target::Group(group) => ("group", Value::from(&**group)),
            Target::All => ("all", Value::from(true)),
        };
        assert_eq!(read["to"], Value::from_iter([(key, id)]), "{dialect:?}");
        if send.body.content_type.is_empty() {
            let body: Value = serde_json::from_slice(&send.body.bytes).expect("JSON");
            assert!(depth(&body) <= JSON_DEPTH);
            assert_eq!(read["body"], body, "{dialect:?}");
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// All that a sender of article 001 wrote reaches receivers of that article, but for who it is from and for.
pub(super) fn im_says_the_same(user: &str, sent: &[u8], send: &Send) {
    let sent = Im::decode(sent).expect("what is taken is a message");
    let frame = Dialect::Im.push(&Push::Message(message(user, send)));
    let got = Im::decode(opened(&frame).1).expect("a message");
    let (from, to) = match &send.to {
        Target::User(to) => (user, &**to),
        Target::Group(group) => (&**group, user),
        Target::All => (user, ""),
    };
    let from_and_to = Im {
        from: from.to_owned(),
        to: to.to_owned(),
        ..sent
    };
    assert_eq!(got, from_and_to);
}

/// Receivers of article 004 get the frame as it is: no parser may read another sender in it.
pub(super) fn ws_id_is_the_senders(user: &str, sent: &[u8], send: &Send) {
    assert_eq!(send.original.as_ref().map(|original| &original.bytes[..]), Some(sent));
    let read: Value = serde_json::from_slice(sent).expect("JSON");
    for (key, value) in read.as_object().expect("an object") {
        if key.eq_ignore_ascii_case("sender") && !value.is_null() {
            let number = value.as_u64().expect("a number");
            assert!(number == 0 || number.to_string() == user, "sent as {number}");
        }
    }
}
