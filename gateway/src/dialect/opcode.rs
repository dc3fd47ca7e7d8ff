//! The service frames of article 002: binary, a big-endian opcode and then the payload.

use bytes::{Buf, Bytes};
use serde::Serialize;

use super::{json, ws::Builder};
use crate::{
    config::ERROR_OPCODE,
    event::{Answer, Command, ErrorAnswer, Inbound, Push, Tag},
};

/// The opcode's bytes.
const HEAD: usize = 4;

pub(super) fn decode(text: bool, mut payload: Bytes) -> Inbound {
    let faulty = |why: &str| Inbound {
        tag: Tag::Plain,
        command: Command::Faulty(why.to_owned()),
    };
    if text {
        return faulty("binary frames only");
    }
    if payload.len() < HEAD {
        return faulty("a frame begins with an opcode of four bytes");
    }
    let opcode = payload.get_u32();
    Inbound {
        tag: Tag::Opcode(opcode),
        command: Command::Routed { opcode, body: payload },
    }
}

pub(super) fn answer(tag: &Tag, answer: &Answer) -> Bytes {
    let opcode = match tag {
        Tag::Opcode(opcode) => Some(*opcode),
        _ => None,
    };
    match (answer, opcode) {
        (Answer::Result(body), Some(opcode)) => {
            let mut builder = begin(opcode, body.bytes.len());
            builder.payload().extend_from_slice(&body.bytes);
            builder.binary()
        }
        (Answer::Error(error), opcode) => failure(opcode, error),
        _ => Bytes::new(),
    }
}

fn failure(opcode: Option<u32>, error: &ErrorAnswer) -> Bytes {
    /// `opcode` is null where the frame had none.
    #[derive(Serialize)]
    struct Out<'a> {
        opcode: Option<u32>,
        code: &'a str,
        message: &'a str,
    }
    let out = Out {
        opcode,
        code: error.code.as_str(),
        message: &error.message,
    };
    let mut builder = begin(ERROR_OPCODE, 128);
    json::write(builder.payload(), &out);
    builder.binary()
}

/// A message as native clients get it.
pub(super) fn push(opcode: u32, push: &Push) -> Bytes {
    let Push::Message(message) = push else {
        return Bytes::new();
    };
    let mut builder = begin(opcode, 0);
    json::message(builder.payload(), message);
    builder.binary()
}

fn begin(opcode: u32, expected: usize) -> Builder {
    let mut builder = Builder::new(HEAD + expected);
    builder.payload().extend_from_slice(&opcode.to_be_bytes());
    builder
}
