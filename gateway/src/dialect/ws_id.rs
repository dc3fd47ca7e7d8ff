//! The hub of article 004: JSON texts with numbers for users, and a receipt for each message.

use bytes::Bytes;
use herald_proto::Target;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    body, json, loose,
    ws::{self, Builder},
};
use crate::event::{Answer, Command, Inbound, Message, Numbers, Original, Push, Send, Tag};

pub(super) const NAME: &str = "ws-id";

const CONNECT: u64 = 0;
const SEND: u64 = 1;
const SYSTEM: u64 = 2;
const BROADCAST: u64 = 3;
const CLOSE: u64 = 4;

/// In the order of their keys on the wire.
#[derive(Serialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: u64,
    sender: u64,
    receiver: u64,
    content: &'a str,
}

/// `user` is its sender.
pub(super) fn decode(user: &str, payload: Bytes) -> Inbound {
    read(user, payload).unwrap_or_else(|why| Inbound {
        tag: tag(0, 0, false),
        command: Command::Faulty(why),
    })
}

fn tag(sender: u64, receiver: u64, receipt: bool) -> Tag {
    Tag::Numbers(Box::new(Numbers {
        sender,
        receiver,
        receipt,
    }))
}

fn read(user: &str, payload: Bytes) -> Result<Inbound, String> {
    let [kind, sender, receiver, content] =
        loose::fields(&payload, ["type", "sender", "receiver", "content"]).map_err(|e| loose::shorten(&e))?;
    let kind: u64 = value(kind)?;
    let sender: u64 = value(sender)?;
    let receiver: u64 = value(receiver)?;
    let tag = |receipt| tag(sender, receiver, receipt);
    let faulty = |why: &str| Command::Faulty(why.to_owned());
    // The receiver gets the frame as it is: nobody may speak in another's name. 0 stands for none.
    let spoofed = sender != 0 && sender.to_string() != user;
    let (tag, command) = match kind {
        SEND | BROADCAST if spoofed => (tag(false), faulty("the sender is another user")),
        SEND => (tag(true), send(Target::user(receiver.to_string()), content, &payload)),
        BROADCAST => (tag(false), send(Target::All, content, &payload)),
        CONNECT => (tag(false), Command::Ping),
        CLOSE => (tag(false), Command::Close),
        _ => (tag(false), faulty("no such type")),
    };
    Ok(Inbound { tag, command })
}

/// A missing one is as Go's zero.
fn value<'a, T: Deserialize<'a> + Default>(value: Option<&'a RawValue>) -> Result<T, String> {
    let read = value.map(|value| serde_json::from_str(value.get())).transpose();
    read.map(Option::unwrap_or_default).map_err(|e| loose::shorten(&e))
}

fn send(to: Target, content: Option<&RawValue>, payload: &Bytes) -> Command {
    let checked = || -> Result<Send, String> {
        // What this dialect does not know goes along.
        body::check(payload).map_err(|e| e.to_string())?;
        let text: String = value(content)?;
        let send = Send {
            to,
            body: body::text(&text),
            original: Some(Original {
                dialect: NAME.to_owned(),
                bytes: payload.clone(),
            }),
            kind: None,
            durable: true,
            key: None,
            ttl: 0,
            copy: false,
        };
        send.check().map_err(|e| e.to_string())?;
        Ok(send)
    };
    checked().map_or_else(Command::Faulty, |send| Command::Send(Box::new(send)))
}

pub(super) fn answer(tag: &Tag, answer: &Answer) -> Bytes {
    let numbers = match tag {
        Tag::Numbers(numbers) => **numbers,
        _ => Numbers {
            sender: 0,
            receiver: 0,
            receipt: false,
        },
    };
    let content = match answer {
        Answer::Sent(_) if !numbers.receipt => return Bytes::new(),
        Answer::Sent(sent) if sent.online == Some(false) => "not online",
        // Where the sender may not know who is online it has been sent, and that is all there is to tell.
        Answer::Sent(_) => "success send",
        Answer::Pong => "connected",
        Answer::Error(error) => &error.message,
        _ => return Bytes::new(),
    };
    frame(&Frame {
        kind: SYSTEM,
        sender: numbers.sender,
        receiver: numbers.receiver,
        content,
    })
}

pub(super) fn push(push: &Push) -> Bytes {
    let Push::Message(message) = push else {
        return Bytes::new();
    };
    match &message.original {
        Some(original) if original.dialect == NAME => ws::text(&original.bytes),
        _ => translated(message),
    }
}

/// Users whose ids are no numbers are 0 here.
fn translated(message: &Message) -> Bytes {
    let number = |user: &str| user.parse().unwrap_or(0);
    let (kind, receiver) = match (&message.to, &message.from) {
        // From the application.
        (Target::User(user), None) => (SYSTEM, number(user)),
        (_, None) => (SYSTEM, 0),
        (Target::User(user), Some(_)) => (SEND, number(user)),
        (Target::Group(_), Some(_)) => (SEND, 0),
        (Target::All, Some(_)) => (BROADCAST, 0),
    };
    frame(&Frame {
        kind,
        sender: message.from.as_deref().map_or(0, number),
        receiver,
        content: &message.body.as_text(),
    })
}

fn frame(frame: &Frame<'_>) -> Bytes {
    let mut builder = Builder::new(96 + frame.content.len());
    json::write(builder.payload(), frame);
    builder.text()
}
