//! What waits for the answer to a poll. It never leaves this node: the poll puts the messages together, and keeps account
//! of what was given.

use bytes::Bytes;

use super::json;
use crate::event::{Message, Push};

const MESSAGE: u8 = b'm';
const CURSOR: u8 = b'c';
const LOST: u8 = b'l';

#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A message's object; without a sequence it is not stored.
    Message { sequence: Option<u64>, json: Bytes },
    /// The text of a cursor: all up to there has been given.
    Cursor(Bytes),
    /// The log is no longer what it was.
    Lost,
}

/// Empty where it is nothing to a poll.
pub(super) fn push(push: &Push) -> Bytes {
    match push {
        Push::Message(message) => self::message(message),
        Push::Cursor(cursor) => [&[CURSOR], cursor.as_bytes()].concat().into(),
        Push::Notice { code: "gap", .. } => Bytes::from_static(&[LOST]),
        Push::Notice { .. } | Push::Group { .. } | Push::Presence { .. } => Bytes::new(),
    }
}

fn message(message: &Message) -> Bytes {
    let sequence = message.offset.as_deref().and_then(|offset| offset.rsplit_once(':'));
    let sequence: u64 = sequence.map_or(Ok(0), |(_, text)| text.parse()).unwrap_or(0);
    let mut item = vec![MESSAGE];
    item.extend_from_slice(&sequence.to_be_bytes());
    json::message(&mut item, message);
    item.into()
}

pub fn item(mut item: Bytes) -> Option<Item> {
    match *item.first()? {
        MESSAGE => {
            let json = item.split_off(1 + size_of::<u64>());
            let sequence = u64::from_be_bytes(item[1..].try_into().ok()?);
            Some(Item::Message {
                sequence: (sequence > 0).then_some(sequence),
                json,
            })
        }
        CURSOR => Some(Item::Cursor(item.split_off(1))),
        LOST => Some(Item::Lost),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use herald_proto::Target;

    use super::*;
    use crate::event::Body;

    #[test]
    fn items_are_what_was_pushed() {
        let mut message = Message {
            id: "1".to_owned(),
            from: None,
            to: Target::All,
            kind: None,
            body: Body {
                bytes: Bytes::from_static(b"[7]"),
                content_type: String::new(),
            },
            original: None,
            time: 2,
            offset: Some("5f3a.0:258".to_owned()),
        };
        let json = r#"{"id":"1","to":{"all":true},"body":[7],"time":2,"offset":"5f3a.0:258"}"#;
        let stored = Item::Message {
            sequence: Some(258),
            json: json.into(),
        };
        assert_eq!(item(push(&Push::Message(message.clone()))), Some(stored));
        message.offset = None;
        let json = r#"{"id":"1","to":{"all":true},"body":[7],"time":2}"#;
        let ephemeral = Item::Message {
            sequence: None,
            json: json.into(),
        };
        assert_eq!(item(push(&Push::Message(message))), Some(ephemeral));
        let cursor = Push::Cursor("5f3a@0:9".to_owned());
        assert_eq!(item(push(&cursor)), Some(Item::Cursor("5f3a@0:9".into())));
        let notice = |code| Push::Notice { code, message: "" };
        assert_eq!(item(push(&notice("gap"))), Some(Item::Lost));
        assert_eq!(item(push(&notice("reconnect"))), None);
    }
}
