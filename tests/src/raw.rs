//! WebSocket by hand, for frames that no library would send and for clients that do not read.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};

use crate::{PATIENCE, http};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
/// The last frame of a message.
pub const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Debug)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

pub struct Raw {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    /// The server's answer to the upgrade, without its body.
    pub head: String,
}

impl Raw {
    /// Upgrades `path` (with its query); whatever the server answered is in `head`.
    pub async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the listener takes connections");
        Self::over(stream, address, path, headers).await
    }

    /// A client whose kernel takes in little, so that one who does not read is soon felt by the server.
    pub async fn narrow(address: SocketAddr, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = socket.connect(address).await.expect("the listener takes connections");
        Self::over(stream, address, path, &[]).await
    }

    /// No WebSocket.
    pub fn around(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            head: String::new(),
        }
    }

    async fn over(stream: TcpStream, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        let mut raw = Self::around(stream);
        raw.bytes(request.as_bytes()).await;
        loop {
            if let Some(end) = raw.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                raw.head = String::from_utf8_lossy(&raw.buffer[..end]).into_owned();
                raw.buffer.drain(..end + 4);
                return raw;
            }
            assert!(
                raw.more().await.is_ok_and(|n| n > 0),
                "the connection ended in the upgrade"
            );
        }
    }

    pub fn upgraded(&self) -> bool {
        self.head.starts_with("HTTP/1.1 101 ")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.head, name)
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        let written = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        written.expect("the server reads").expect("the connection stands");
    }

    /// As [`Self::bytes`], to a server that may have hung up.
    pub async fn try_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        written.expect("the server reads")
    }

    /// A masked frame.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.bytes(&masked(first, payload)).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.frame(FIN | TEXT, text.as_bytes()).await;
    }

    async fn more(&mut self) -> io::Result<usize> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("nothing came for half a minute")
    }

    /// The next frame; None where the connection has ended.
    pub async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if self.more().await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The frames that are here already.
    pub fn here(&mut self) -> Vec<Frame> {
        while self.stream.try_read_buf(&mut self.buffer).is_ok_and(|n| n > 0) {}
        std::iter::from_fn(|| self.take()).collect()
    }

    fn take(&mut self) -> Option<Frame> {
        let (first, second) = (*self.buffer.first()?, *self.buffer.get(1)?);
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        let (length, start) = match second {
            126 => (
                u64::from(u16::from_be_bytes(self.buffer.get(2..4)?.try_into().ok()?)),
                4,
            ),
            127 => (u64::from_be_bytes(self.buffer.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let end = start + usize::try_from(length).expect("a frame that fits in memory");
        let payload = self.buffer.get(start..end)?.to_vec();
        self.buffer.drain(..end);
        Some(Frame { first, payload })
    }

    /// The next text or binary frame as JSON, past pings.
    pub async fn json(&mut self) -> Value {
        // Pings come and go meanwhile: they are no reason to wait for longer.
        let end = Instant::now() + PATIENCE;
        loop {
            let frame = timeout_at(end, self.read())
                .await
                .expect("no JSON came for half a minute");
            let frame = frame.expect("a frame before the end");
            match frame.first & 0x0f {
                TEXT | BINARY => return serde_json::from_slice(&frame.payload).expect("JSON"),
                CLOSE => panic!("closed: {:?}", String::from_utf8_lossy(&frame.payload)),
                _ => {}
            }
        }
    }

    /// The code of the close frame that must come; other frames before it are skipped.
    pub async fn closed(&mut self) -> u16 {
        self.end().await.expect("a close frame before the end")
    }

    /// Reads to the end: the code of the close frame, or None where the connection broke off.
    pub async fn end(&mut self) -> Option<u16> {
        let end = Instant::now() + PATIENCE;
        loop {
            let frame = timeout_at(end, self.read()).await.expect("no end for half a minute")?;
            if frame.first & 0x0f == CLOSE {
                let code = frame.payload.get(..2).and_then(|b| b.try_into().ok());
                return Some(code.map_or(1005, u16::from_be_bytes));
            }
        }
    }
}

/// A whole frame as a client must send it.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, 0x80, payload.len() as u64);
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The start of a frame; `mask` is 0x80 or 0.
pub fn header(first: u8, mask: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(short @ 0..126) = u8::try_from(length) {
        bytes.push(mask | short);
    } else if let Ok(middle) = u16::try_from(length) {
        bytes.push(mask | 126);
        bytes.extend(middle.to_be_bytes());
    } else {
        bytes.push(mask | 127);
        bytes.extend(length.to_be_bytes());
    }
    bytes
}
