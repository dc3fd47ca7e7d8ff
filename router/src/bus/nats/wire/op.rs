//! What a NATS server says, taken from the bytes as they come.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// The longest line: INFO names every server of a cluster.
const LINE: usize = 1 << 20;
/// The largest message with its headers: NATS itself takes no payload of more than 64 MiB.
const MESSAGE: usize = 65 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Message {
        /// The subscription's number.
        sid: u64,
        /// The block of headers as it came; empty where there is none.
        headers: Bytes,
        payload: Bytes,
    },
    Ping,
    Pong,
    Ok,
    /// The server's words.
    Error(String),
    /// JSON.
    Info(Bytes),
}

/// The server does not speak as it should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BadOp {
    #[error("a line of more than {LINE} bytes")]
    LongLine,
    #[error("a message of more than {MESSAGE} bytes")]
    LargeMessage,
    #[error("an operation that NATS does not have")]
    Unknown,
    #[error("a message's line that makes no sense")]
    Malformed,
    #[error("a message that does not end where its line says")]
    Unended,
}

/// Takes the next operation off the front; None until all of it is there.
pub(super) fn next(buffer: &mut BytesMut) -> Result<Option<Op>, BadOp> {
    let Some(end) = find_line(buffer)? else {
        return Ok(None);
    };
    let line = &buffer[..end];
    let (verb, rest) = split(line);
    // The server's own spelling, or any other: the protocol does not care for case.
    if verb.eq_ignore_ascii_case(b"MSG") {
        let head = Head::of(rest, false)?;
        return message(buffer, end, head);
    }
    if verb.eq_ignore_ascii_case(b"HMSG") {
        let head = Head::of(rest, true)?;
        return message(buffer, end, head);
    }
    let op = match verb.to_ascii_uppercase().as_slice() {
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        b"+OK" => Op::Ok,
        b"-ERR" => {
            let text = String::from_utf8_lossy(rest);
            Op::Error(text.trim_matches(|c: char| c == '\'' || c.is_whitespace()).to_owned())
        }
        b"INFO" => Op::Info(Bytes::copy_from_slice(rest)),
        _ => return Err(BadOp::Unknown),
    };
    buffer.advance(end + 2);
    Ok(Some(op))
}

/// Where the line ends that the buffer begins with.
fn find_line(buffer: &[u8]) -> Result<Option<usize>, BadOp> {
    let mut from = 0;
    while let Some(at) = buffer[from..].iter().position(|byte| *byte == b'\n') {
        let at = from + at;
        if at > 0 && buffer[at - 1] == b'\r' {
            return Ok(Some(at - 1));
        }
        from = at + 1;
    }
    match buffer.len() > LINE {
        true => Err(BadOp::LongLine),
        false => Ok(None),
    }
}

/// The first word, and what follows it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let space = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (word, rest) = line.split_at(space);
    (word, rest.trim_ascii_start())
}

/// What a message's line says.
#[derive(Debug, Clone, Copy)]
struct Head {
    sid: u64,
    headers: usize,
    total: usize,
}

impl Head {
    /// `<subject> <sid> [reply] [headers] <total>`
    fn of(rest: &[u8], headers: bool) -> Result<Self, BadOp> {
        let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let _subject = words.next().ok_or(BadOp::Malformed)?;
        let sid = words.next().and_then(number).ok_or(BadOp::Malformed)?;
        let mut last = [None; 4];
        let mut count = 0;
        for word in words {
            *last.get_mut(count).ok_or(BadOp::Malformed)? = Some(word);
            count += 1;
        }
        // The reply's subject, if there is one, comes before the sizes.
        let sizes = if headers { 2 } else { 1 };
        if count < sizes || count > sizes + 1 {
            return Err(BadOp::Malformed);
        }
        let size = |back: usize| {
            last[count - back]
                .and_then(number)
                .and_then(|n| usize::try_from(n).ok())
        };
        let total = size(1).ok_or(BadOp::Malformed)?;
        let headers = match headers {
            true => size(2).ok_or(BadOp::Malformed)?,
            false => 0,
        };
        if headers > total {
            return Err(BadOp::Malformed);
        }
        if total > MESSAGE {
            return Err(BadOp::LargeMessage);
        }
        Ok(Self { sid, headers, total })
    }
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The message whose line ends at `line`.
fn message(buffer: &mut BytesMut, line: usize, head: Head) -> Result<Option<Op>, BadOp> {
    let start = line + 2;
    let end = start + head.total;
    if buffer.len() < end + 2 {
        // So that a large one is not read in many small steps.
        buffer.reserve(end + 2 - buffer.len());
        return Ok(None);
    }
    if &buffer[end..end + 2] != b"\r\n" {
        return Err(BadOp::Unended);
    }
    // Copies, so that what is kept of a message keeps no more than itself.
    let op = Op::Message {
        sid: head.sid,
        headers: Bytes::copy_from_slice(&buffer[start..start + head.headers]),
        payload: Bytes::copy_from_slice(&buffer[start + head.headers..end]),
    };
    buffer.advance(end + 2);
    Ok(Some(op))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8], step: usize) -> Result<Vec<Op>, BadOp> {
        let (mut buffer, mut ops) = (BytesMut::new(), Vec::new());
        for chunk in bytes.chunks(step.max(1)) {
            buffer.extend_from_slice(chunk);
            while let Some(op) = next(&mut buffer)? {
                ops.push(op);
            }
        }
        assert!(buffer.is_empty(), "{buffer:?} is left");
        Ok(ops)
    }

    const SAID: &[u8] =
        b"INFO {\"server_id\":\"N\"}\r\n+OK\r\nPING\r\nMSG a.b 7 5\r\nhe\r\no\r\nMSG a.b 8 re.ply 0\r\n\r\n\
        HMSG a 9 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPONG\r\n-ERR 'Permissions Violation'\r\n";

    fn said() -> Vec<Op> {
        let message = |sid, headers: &'static [u8], payload: &'static [u8]| Op::Message {
            sid,
            headers: Bytes::from_static(headers),
            payload: Bytes::from_static(payload),
        };
        vec![
            Op::Info(Bytes::from_static(b"{\"server_id\":\"N\"}")),
            Op::Ok,
            Op::Ping,
            message(7, b"", b"he\r\no"),
            message(8, b"", b""),
            message(9, b"NATS/1.0\r\n\r\n", b"hi"),
            Op::Pong,
            Op::Error("Permissions Violation".to_owned()),
        ]
    }

    #[test]
    fn what_a_server_says_is_read_however_it_is_cut() {
        for step in 1..SAID.len() {
            assert_eq!(all(SAID, step).unwrap(), said(), "{step} bytes at a time");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for (bytes, error) in [
            (&b"HELLO\r\n"[..], BadOp::Unknown),
            (b"\r\n", BadOp::Unknown),
            (b"MSG a\r\n", BadOp::Malformed),
            (b"MSG a 1 -3\r\n", BadOp::Malformed),
            (b"MSG a 1 b c 3\r\n", BadOp::Malformed),
            (b"HMSG a 1 3\r\n", BadOp::Malformed),
            (b"HMSG a 1 5 3\r\n", BadOp::Malformed),
            (b"MSG a 1 99999999999\r\n", BadOp::LargeMessage),
            (b"MSG a 1 3\r\nabcde\r\n", BadOp::Unended),
        ] {
            assert_eq!(all(bytes, 100), Err(error), "{:?}", String::from_utf8_lossy(bytes));
        }
        let mut endless = BytesMut::from(&vec![b'x'; LINE + 1][..]);
        assert_eq!(next(&mut endless), Err(BadOp::LongLine));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(prop_oneof![
            Just(b'M'), Just(b'S'), Just(b'G'), Just(b'H'), Just(b' '), Just(b'1'), Just(b'\r'), Just(b'\n'), any::<u8>()
        ], 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = next(&mut buffer) {}
        }
    }
}
