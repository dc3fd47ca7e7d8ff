//! The hub of article 003: the first frame logs in and comes back, what follows is JSON that goes to whom it names.

use bytes::Bytes;
use herald_proto::Target;
use serde_json::value::RawValue;

use super::{
    body,
    json::{self, Shape},
    loose,
    ws::{self, Builder},
};
use crate::event::{Answer, BadFrame, Command, Connect, Inbound, Original, Push, Send, Tag};

pub(super) const NAME: &str = "hub";

pub(super) fn decode(user: Option<&str>, payload: Bytes) -> Result<Inbound, BadFrame> {
    match user {
        None => login(payload),
        Some(_) => Ok(Inbound {
            tag: Tag::None,
            command: send(payload).map_or_else(Command::Faulty, |send| Command::Send(Box::new(send))),
        }),
    }
}

fn login(payload: Bytes) -> Result<Inbound, BadFrame> {
    let bad = |why: String| BadFrame::new(Tag::Plain, why);
    if std::str::from_utf8(&payload).is_err() {
        return Err(bad("not UTF-8".to_owned()));
    }
    let [token, user, user_id] =
        loose::fields(&payload, ["token", "user", "UserID"]).map_err(|e| bad(loose::shorten(&e)))?;
    let text = |value: Option<&RawValue>| value.map(string).transpose().map_err(bad);
    let connect = Connect {
        token: text(token)?.unwrap_or_default(),
        user: text(user)?.or(text(user_id)?),
        ..Connect::default()
    };
    Ok(Inbound {
        tag: Tag::Login(Box::new(payload)),
        command: Command::Connect(connect),
    })
}

fn send(payload: Bytes) -> Result<Send, String> {
    let [to, token] = loose::fields(&payload, ["ToUserID", "token"]).map_err(|e| loose::shorten(&e))?;
    let to = to.map(string).transpose()?.filter(|to| !to.is_empty());
    let to = match (to, token) {
        (Some(user), _) => Target::user(user),
        // It would go to everybody, and the token with it.
        (None, Some(_)) => return Err("logged in already".to_owned()),
        (None, None) => Target::All,
    };
    let send = Send {
        to,
        body: body::from_bytes(payload, String::new()).map_err(|e| e.to_string())?,
        // It is the body.
        original: Some(Original {
            dialect: NAME.to_owned(),
            bytes: Bytes::new(),
        }),
        kind: None,
        durable: true,
        key: None,
        ttl: 0,
        copy: false,
    };
    send.check().map_err(|e| e.to_string())?;
    Ok(send)
}

fn string(value: &RawValue) -> Result<String, String> {
    serde_json::from_str(value.get()).map_err(|e| loose::shorten(&e))
}

pub(super) fn answer(tag: &Tag, answer: &Answer) -> Bytes {
    match (answer, tag) {
        (Answer::Connected(_), Tag::Login(frame)) => ws::text(frame),
        (Answer::Error(_), _) => json::answer(Shape::Frame, None, answer),
        _ => Bytes::new(),
    }
}

/// Messages of other dialects come as native clients get them.
pub(super) fn push(push: &Push) -> Bytes {
    let Push::Message(message) = push else {
        return Bytes::new();
    };
    match &message.original {
        Some(original) if original.dialect == NAME => ws::text(&message.body.bytes),
        _ => {
            let mut builder = Builder::new(0);
            json::message(builder.payload(), message);
            builder.text()
        }
    }
}
