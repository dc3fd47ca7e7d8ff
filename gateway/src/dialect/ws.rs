//! WebSocket frames from the server: complete, unmasked, ready to be shared by all who get them.

use bytes::Bytes;

use crate::event::Ending;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FIN: u8 = 0x80;

/// The longest header of a server's frame: opcode, length code, 8 bytes of length.
const HEAD: usize = 10;

/// A frame under construction: the payload is written behind room for the header, so that nothing is copied when its
/// length is known.
pub struct Builder {
    buffer: Vec<u8>,
}

impl Builder {
    pub fn new(expected_payload: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEAD + expected_payload);
        buffer.resize(HEAD, 0);
        Self { buffer }
    }

    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub fn text(self) -> Bytes {
        self.finish(TEXT)
    }

    pub fn binary(self) -> Bytes {
        self.finish(BINARY)
    }

    fn finish(mut self, opcode: u8) -> Bytes {
        let length = self.buffer.len() - HEAD;
        let mut head = [0u8; HEAD];
        head[0] = FIN | opcode;
        let size = if length < 126 {
            head[1] = length.to_le_bytes()[0];
            2
        } else if let Ok(length) = u16::try_from(length) {
            head[1] = 126;
            head[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            head[1] = 127;
            head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        };
        let start = HEAD - size;
        self.buffer[start..HEAD].copy_from_slice(&head[..size]);
        Bytes::from(self.buffer).slice(start..)
    }
}

pub fn text(payload: &[u8]) -> Bytes {
    whole(TEXT, payload)
}

pub fn binary(payload: &[u8]) -> Bytes {
    whole(BINARY, payload)
}

/// `payload` is at most 125 bytes, and comes back with the pong.
pub fn ping(payload: &[u8]) -> Bytes {
    match payload {
        [] => Bytes::from_static(&[FIN | PING, 0]),
        payload => whole(PING, payload),
    }
}

/// `payload` is at most 125 bytes, as that of the ping that it answers.
pub fn pong(payload: &[u8]) -> Bytes {
    whole(PONG, payload)
}

fn whole(opcode: u8, payload: &[u8]) -> Bytes {
    let mut builder = Builder::new(payload.len());
    builder.payload().extend_from_slice(payload);
    builder.finish(opcode)
}

pub fn ending(ending: Ending) -> Bytes {
    match ending {
        Ending::Code(code) => close(Some(code.code()), code.reason()),
        Ending::Peer(code) => close(code, ""),
    }
}

fn close(code: Option<u16>, reason: &str) -> Bytes {
    let mut builder = Builder::new(2 + reason.len());
    if let Some(code) = code {
        builder.payload().extend_from_slice(&code.to_be_bytes());
        builder.payload().extend_from_slice(reason.as_bytes());
    }
    builder.finish(CLOSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_follow_the_length() {
        for (length, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut builder = Builder::new(length);
            builder.payload().resize(HEAD + length, b'x');
            let frame = builder.text();
            assert_eq!(frame.len(), head.len() + length);
            assert_eq!(frame[..head.len()], head);
        }
        assert_eq!(close(Some(4001), "slow")[..], *b"\x88\x06\x0f\xa1slow");
        assert_eq!(close(None, "")[..], [0x88, 0]);
        assert_eq!(pong(b"ab")[..], *b"\x8a\x02ab");
    }
}
