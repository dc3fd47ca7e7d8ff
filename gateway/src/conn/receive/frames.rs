//! From bytes to messages: pure. Frames are unmasked where they lie, fragments are put together, and whatever breaks the
//! rules is found with the byte that breaks them. What a head announces is no reason to make room for it: room grows with
//! what comes.

use bytes::{Buf, Bytes, BytesMut};
use herald_proto::CloseCode;

use super::{
    Broken, Received,
    head::{Head, Opcode},
    utf8::Utf8,
};

const PROTOCOL: Broken = Broken(CloseCode::ProtocolError);
const TOO_BIG: Broken = Broken(CloseCode::TooBig);
const NO_TEXT: Broken = Broken(CloseCode::InvalidPayload);

/// What has come and is no message yet. Empty, it holds no memory.
pub struct Frames {
    buffer: BytesMut,
    max_message: usize,
    /// Of the frame whose payload the buffer begins with.
    head: Option<Head>,
    /// How much of that payload is unmasked, and where it is text, known to be valid.
    seen: usize,
    message: Option<Box<Message>>,
    /// Bytes of whole frames that nobody has asked for yet.
    taken: u64,
}

/// A message of which not all is here. Boxed: most are there at once.
#[derive(Default)]
struct Message {
    text: bool,
    utf8: Utf8,
    /// Of the frames before this one.
    payload: Vec<u8>,
}

impl Frames {
    pub fn new(max_message: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_message,
            head: None,
            seen: 0,
            message: None,
            taken: 0,
        }
    }

    /// Bytes of the frames that were taken since this was last asked.
    pub fn taken(&mut self) -> u64 {
        std::mem::take(&mut self.taken)
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where a large frame has begun to come, so that `much` of it is here and more than that is missing: the buffer, with
    /// room for as much again.
    pub fn room(&mut self, much: usize) -> Option<&mut BytesMut> {
        let come = self.buffer.len();
        let missing = self.head?.length.saturating_sub(come);
        if come < much || missing <= much {
            return None;
        }
        self.buffer.reserve(missing.min(come));
        Some(&mut self.buffer)
    }

    /// The next message, or part of one. None: more must come.
    pub fn take(&mut self) -> Result<Option<Received>, Broken> {
        let head = match self.head {
            Some(head) => head,
            None => match Head::parse(&self.buffer)? {
                Some((head, size)) => {
                    self.begin(&head)?;
                    self.buffer.advance(size);
                    self.taken += size as u64;
                    self.seen = 0;
                    *self.head.insert(head)
                }
                None => {
                    self.forget();
                    return Ok(None);
                }
            },
        };
        self.look(&head)?;
        if self.seen < head.length {
            self.forget();
            return Ok(None);
        }
        self.head = None;
        let payload = self.buffer.split_to(head.length).freeze();
        self.taken += payload.len() as u64;
        self.accept(&head, payload).map(Some)
    }

    /// Whether a frame may come now.
    fn begin(&mut self, head: &Head) -> Result<(), Broken> {
        let before = match (head.opcode, &self.message) {
            (Opcode::Continuation, Some(message)) => message.payload.len(),
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => return Err(PROTOCOL),
            _ => 0,
        };
        if head.length > self.max_message - before {
            return Err(TOO_BIG);
        }
        Ok(())
    }

    /// Unmasks what is new of the payload. Of texts that come in parts it is found early whether they are any.
    fn look(&mut self, head: &Head) -> Result<(), Broken> {
        let come = self.buffer.len().min(head.length);
        let new = &mut self.buffer[self.seen..come];
        let mut mask = head.mask;
        mask.rotate_left(self.seen % 4);
        fastwebsockets::unmask(new, mask);
        let whole = self.seen == 0 && come == head.length && head.fin && self.message.is_none();
        self.seen = come;
        let message = match head.opcode {
            // Looked at where it is taken.
            Opcode::Text if whole => return Ok(()),
            Opcode::Text | Opcode::Binary if !whole => self.message.get_or_insert_with(|| {
                Box::new(Message {
                    text: head.opcode == Opcode::Text,
                    ..Message::default()
                })
            }),
            Opcode::Continuation => match &mut self.message {
                Some(message) => message,
                None => return Err(PROTOCOL),
            },
            _ => return Ok(()),
        };
        if message.text && !message.utf8.feed(new) {
            return Err(NO_TEXT);
        }
        Ok(())
    }

    /// A whole frame.
    fn accept(&mut self, head: &Head, payload: Bytes) -> Result<Received, Broken> {
        match head.opcode {
            Opcode::Ping => return Ok(Received::Ping(payload)),
            Opcode::Pong => return Ok(Received::Pong(payload)),
            Opcode::Close => return close(&payload).map(Received::Close),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {}
        }
        let Some(message) = &mut self.message else {
            // Most are alone, and here at once.
            return match head.opcode {
                Opcode::Text if std::str::from_utf8(&payload).is_err() => Err(NO_TEXT),
                Opcode::Text => Ok(Received::Text(payload)),
                _ => Ok(Received::Binary(payload)),
            };
        };
        if !head.fin {
            message.payload.extend_from_slice(&payload);
            return Ok(Received::Part);
        }
        if message.text && !message.utf8.is_complete() {
            return Err(NO_TEXT);
        }
        let text = message.text;
        let payload = match std::mem::take(&mut message.payload) {
            before if before.is_empty() => payload,
            mut before => {
                before.extend_from_slice(&payload);
                before.into()
            }
        };
        self.message = None;
        Ok(if text {
            Received::Text(payload)
        } else {
            Received::Binary(payload)
        })
    }

    /// An empty buffer keeps no memory.
    fn forget(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

/// The code of a close frame, which must be one that may stand in a frame.
fn close(payload: &[u8]) -> Result<Option<u16>, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(PROTOCOL),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(PROTOCOL);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(NO_TEXT);
    }
    Ok(Some(code))
}

#[cfg(test)]
mod tests;
