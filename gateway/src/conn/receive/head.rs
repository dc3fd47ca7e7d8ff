//! The head of a WebSocket frame (RFC 6455, 5.2), and the rules that can be checked by it alone.

use herald_proto::CloseCode;

use super::Broken;

/// Largest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES: u8 = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub fin: bool,
    pub opcode: Opcode,
    pub mask: [u8; 4],
    /// Of the payload.
    pub length: usize,
}

impl Head {
    /// With its own size. None: more of it must come. What is wrong is told as soon as the byte that says so is there.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Broken> {
        const PROTOCOL: Broken = Broken(CloseCode::ProtocolError);
        let [first, ..] = *bytes else { return Ok(None) };
        let opcode = Opcode::of(first & OPCODE).ok_or(PROTOCOL)?;
        let fin = first & FIN != 0;
        if first & RESERVED != 0 || (opcode.is_control() && !fin) {
            return Err(PROTOCOL);
        }
        let [_, second, rest @ ..] = bytes else { return Ok(None) };
        let code = second & LENGTH;
        // Beyond this the length of a control frame is too large, or written with more bytes than it needs.
        if second & MASKED == 0 || (opcode.is_control() && code > CONTROL_BYTES) {
            return Err(PROTOCOL);
        }
        let (length, rest) = match code {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        // The highest bit of a length must be 0.
        if length > u64::MAX >> 1 {
            return Err(PROTOCOL);
        }
        let Some((mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let head = Self {
            fin,
            opcode,
            mask: *mask,
            length: usize::try_from(length).map_err(|_| Broken(CloseCode::TooBig))?,
        };
        Ok(Some((head, bytes.len() - rest.len())))
    }
}
