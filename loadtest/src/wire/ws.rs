//! WebSocket frames over fastwebsockets, which takes 8 KiB for a reader and next to nothing for a writer.

use std::{convert::Infallible, io::Cursor, net::Ipv4Addr};

use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocketWrite, after_handshake_split};
use tokio::{
    io::{AsyncReadExt, BufWriter, Chain},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use super::{
    Address, WireError, socket,
    upgrade::{Upgrade, upgrade},
};

/// Frames to come are larger than this only by mistake.
const MAX_MESSAGE: usize = 24 << 20;

/// A message to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
}

/// What a server sent.
pub enum Incoming {
    Message(Payload<'static>),
    Ping(Vec<u8>),
    Other,
}

pub struct Reader {
    frames: FragmentCollectorRead<Chain<Cursor<Vec<u8>>, OwnedReadHalf>>,
}

pub struct Writer {
    frames: WebSocketWrite<BufWriter<OwnedWriteHalf>>,
}

/// Connects and upgrades. A `buffer` of more than 0 bytes gathers what is written until [`Writer::flush`].
pub async fn open(
    address: &Address,
    source: Option<Ipv4Addr>,
    ask: &Upgrade,
    buffer: usize,
) -> Result<(Reader, Writer), WireError> {
    let mut stream = socket::connect(address.socket, source).await?;
    let early = upgrade(&mut stream, &address.host, ask).await?;
    let (read, write) = stream.into_split();
    let read = Cursor::new(early).chain(read);
    let write = BufWriter::with_capacity(buffer, write);
    let (mut read, write) = after_handshake_split(read, write, Role::Client);
    // What a frame asks for is answered by whoever owns the writer.
    read.set_auto_pong(false);
    read.set_auto_close(false);
    read.set_max_message_size(MAX_MESSAGE);
    let frames = FragmentCollectorRead::new(read);
    Ok((Reader { frames }, Writer { frames: write }))
}

impl Reader {
    /// Not to be cancelled: what was read of a frame would be gone.
    pub async fn next(&mut self) -> Result<Incoming, WireError> {
        let mut nothing_to_send = |_: Frame<'static>| async { Ok::<(), Infallible>(()) };
        let frame = self.frames.read_frame(&mut nothing_to_send).await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => Ok(Incoming::Message(frame.payload)),
            OpCode::Ping => Ok(Incoming::Ping(frame.payload.to_vec())),
            OpCode::Close => Err(closed(&frame.payload)),
            OpCode::Pong | OpCode::Continuation => Ok(Incoming::Other),
        }
    }
}

fn closed(payload: &[u8]) -> WireError {
    match payload {
        [high, low, reason @ ..] => WireError::Closed {
            code: u16::from_be_bytes([*high, *low]),
            reason: String::from_utf8_lossy(reason).into_owned(),
        },
        _ => WireError::Closed {
            code: 1005,
            reason: String::new(),
        },
    }
}

impl Writer {
    /// Writes, or keeps in the buffer if there is one.
    pub async fn feed(&mut self, message: Outgoing) -> Result<(), WireError> {
        let frame = match message {
            Outgoing::Text(text) => Frame::text(Payload::Owned(text)),
            Outgoing::Binary(bytes) => Frame::binary(Payload::Owned(bytes)),
            Outgoing::Pong(bytes) => Frame::pong(Payload::Owned(bytes)),
        };
        Ok(self.frames.write_frame(frame).await?)
    }

    pub async fn flush(&mut self) -> Result<(), WireError> {
        Ok(self.frames.flush().await?)
    }

    pub async fn send(&mut self, message: Outgoing) -> Result<(), WireError> {
        self.feed(message).await?;
        self.flush().await
    }
}
