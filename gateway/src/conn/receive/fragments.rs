//! From frames to messages: fragments are put together, and what is in control frames is checked.

use bytes::{Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Payload};
use herald_proto::CloseCode;

use super::{Broken, Received};

/// Largest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES: usize = 125;

/// A message of which not all fragments are here.
pub(super) struct Fragments {
    text: bool,
    payload: Vec<u8>,
    /// How much of a text is known to be valid UTF-8.
    valid: usize,
}

/// Puts fragments together. None: more is to come.
pub(super) fn accept(
    frame: Frame<'static>,
    fragments: &mut Option<Fragments>,
    max_message: usize,
) -> Result<Option<Received>, Broken> {
    const PROTOCOL: Broken = Broken::Rules(CloseCode::ProtocolError);
    let (fin, opcode) = (frame.fin, frame.opcode);
    let payload = into_bytes(frame.payload).freeze();
    let control = matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong);
    if control && (!fin || payload.len() > CONTROL_BYTES) {
        return Err(PROTOCOL);
    }
    match opcode {
        OpCode::Ping => Ok(Some(Received::Ping(payload))),
        OpCode::Pong => Ok(Some(Received::Pong(payload))),
        OpCode::Close => close(&payload).map(|code| Some(Received::Close(code))),
        OpCode::Text | OpCode::Binary => {
            if fragments.is_some() {
                return Err(PROTOCOL);
            }
            let text = opcode == OpCode::Text;
            match (fin, text) {
                // fastwebsockets has checked that it is UTF-8.
                (true, true) => Ok(Some(Received::Text(payload))),
                (true, false) => Ok(Some(Received::Binary(payload))),
                (false, _) => {
                    let mut begun = Fragments {
                        text,
                        payload: payload.to_vec(),
                        valid: 0,
                    };
                    begun.check(false)?;
                    *fragments = Some(begun);
                    Ok(None)
                }
            }
        }
        OpCode::Continuation => {
            let mut message = fragments.take().ok_or(PROTOCOL)?;
            if message.payload.len() + payload.len() > max_message {
                return Err(Broken::Rules(CloseCode::TooBig));
            }
            message.payload.extend_from_slice(&payload);
            message.check(fin)?;
            if !fin {
                *fragments = Some(message);
                return Ok(None);
            }
            let payload = Bytes::from(message.payload);
            Ok(Some(if message.text {
                Received::Text(payload)
            } else {
                Received::Binary(payload)
            }))
        }
    }
}

impl Fragments {
    /// Finds invalid UTF-8 as soon as it has come, and a character cut off at the end once there is no more.
    fn check(&mut self, complete: bool) -> Result<(), Broken> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            Err(error) if error.error_len().is_none() && !complete => self.valid += error.valid_up_to(),
            Err(_) => return Err(Broken::Rules(CloseCode::InvalidPayload)),
        }
        Ok(())
    }
}

/// The code of a close frame, which must be one that may stand in a frame.
fn close(payload: &[u8]) -> Result<Option<u16>, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(Broken::Rules(CloseCode::ProtocolError)),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Broken::Rules(CloseCode::ProtocolError));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Broken::Rules(CloseCode::InvalidPayload));
    }
    Ok(Some(code))
}

pub(super) fn into_bytes(payload: Payload<'_>) -> BytesMut {
    match payload {
        Payload::Bytes(bytes) => bytes,
        other => BytesMut::from(&other[..]),
    }
}
