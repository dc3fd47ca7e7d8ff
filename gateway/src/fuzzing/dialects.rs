//! Frames of clients. Whatever is taken for a command must be one: with ids that are ids, and a message that every
//! receiver can read and that says who sent it.

use bytes::Bytes;
use herald_proto::{ErrorCode, id};

use super::receivers;
use crate::{
    dialect::Dialect,
    event::{Answer, BadFrame, Call, Command, ErrorAnswer, HistoryOf, Inbound, PresenceQuery, Send, Tag},
};

/// Who sends; a number, for the dialect whose users are numbers.
pub(super) const USER: &str = "1001";

pub fn json(data: &[u8]) {
    if let Some(send) = decoded(Dialect::Json, Some(USER), std::str::from_utf8(data).is_ok(), data) {
        assert!(send.original.is_none() && send.body.content_type.is_empty());
    }
}

pub fn proto(data: &[u8]) {
    decoded(Dialect::Proto, Some(USER), false, data);
}

pub fn im(data: &[u8]) {
    if let Some(send) = decoded(Dialect::Im, Some(USER), false, data) {
        receivers::im_says_the_same(USER, data, &send);
    }
}

/// The first byte says whether it is the first frame, which logs in.
pub fn hub(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let user = (first & 1 == 0).then_some(USER);
    if let Some(send) = decoded(Dialect::Hub, user, true, rest) {
        assert!(user.is_some(), "nobody sends before the login");
        assert_eq!(send.body.bytes, rest, "it goes on as it came");
    }
}

pub fn ws_id(data: &[u8]) {
    if let Some(send) = decoded(Dialect::WsId, Some(USER), false, data) {
        receivers::ws_id_is_the_senders(USER, data, &send);
    }
}

pub fn opcode(data: &[u8]) {
    let decoded = Dialect::Opcode(1).decode(Some(USER), false, Bytes::copy_from_slice(data));
    match decoded.map(|inbound| inbound.command) {
        Ok(Command::Routed { opcode, body }) => assert_eq!([&opcode.to_be_bytes()[..], &body].concat(), data),
        Ok(Command::Faulty(_)) => assert!(data.len() < 4),
        other => panic!("{other:?}"),
    }
}

pub fn echo(data: &[u8]) {
    for text in [false, true] {
        if text && std::str::from_utf8(data).is_err() {
            continue;
        }
        let inbound = Dialect::Echo.decode(Some(USER), text, Bytes::copy_from_slice(data));
        let Ok(Inbound {
            tag,
            command: Command::Echo { text: is_text, payload },
        }) = inbound
        else {
            panic!("{inbound:?}")
        };
        assert_eq!((is_text, &payload[..]), (text, data));
        let frame = Dialect::Echo.answer(&tag, &Answer::Echo { text, payload });
        assert_eq!(receivers::opened(&frame), (text, data));
    }
}

/// What was decoded, where it is to be sent.
fn decoded(dialect: Dialect, user: Option<&str>, text: bool, data: &[u8]) -> Option<Send> {
    match dialect.decode(user, text, Bytes::copy_from_slice(data)) {
        Err(BadFrame { tag, failure }) => {
            refused(dialect, &tag, &failure.message, data);
            None
        }
        Ok(Inbound { tag, command }) => match command {
            Command::Send(send) => {
                receivers::all_can_read(user.unwrap_or_default(), &send);
                Some(*send)
            }
            Command::Faulty(why) => {
                refused(dialect, &tag, &why, data);
                None
            }
            command => {
                is_sound(command);
                None
            }
        },
    }
}

/// What is refused is answered, and the answer is no way to make the gateway write much.
fn refused(dialect: Dialect, tag: &Tag, why: &str, data: &[u8]) {
    let error = ErrorAnswer {
        code: ErrorCode::BadRequest,
        message: why.to_owned(),
        after_ms: None,
    };
    let frame = dialect.answer(tag, &Answer::Error(error));
    receivers::can_be_read(dialect, &frame);
    assert!(frame.len() < 2_048, "{} bytes of answer to {}", frame.len(), data.len());
}

fn is_sound(command: Command) {
    match command {
        Command::Presence(PresenceQuery::Users(users)) | Command::Watch { users } | Command::Unwatch { users } => {
            assert!((1..=1000).contains(&users.len()));
            users
                .iter()
                .for_each(|user| id::check("user", user).expect("a user's id"));
        }
        Command::Presence(PresenceQuery::Group(group)) => id::check("group", &group).expect("a group's id"),
        Command::History(query) => {
            assert_ne!(query.limit, Some(0));
            if let HistoryOf::Group(group) = query.of {
                // Routers check it; it becomes a subject all the same.
                let token = herald_proto::subject::escape(&group);
                assert_eq!(herald_proto::subject::unescape(&token), Some(group));
            }
        }
        Command::Call(call) => {
            let Call { service, method, .. } = *call;
            for name in [Some(service), method].into_iter().flatten() {
                let plain = name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                assert!(plain && (1..=64).contains(&name.len()), "{name:?}");
            }
        }
        Command::Send(_)
        | Command::Faulty(_)
        | Command::Connect(_)
        | Command::Join { .. }
        | Command::Leave { .. }
        | Command::Refresh { .. }
        | Command::Ping
        | Command::Routed { .. }
        | Command::Echo { .. }
        | Command::Close => {}
    }
}
