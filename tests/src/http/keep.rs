//! Many requests over one connection, one after another.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Response, header, parse};
use crate::PATIENCE;

pub struct Kept {
    address: SocketAddr,
    stream: TcpStream,
    /// Read beyond the last answer.
    ahead: Vec<u8>,
}

impl Kept {
    pub async fn to(address: SocketAddr) -> Self {
        Self {
            address,
            stream: TcpStream::connect(address).await.expect("somebody listens"),
            ahead: Vec::new(),
        }
    }

    /// POST with a token. Answers must tell their length.
    pub async fn post(&mut self, path: &str, token: &str, body: &[u8]) -> Response {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let bytes = [head.as_bytes(), body].concat();
        self.stream.write_all(&bytes).await.expect("the connection stands");
        let answer = timeout(PATIENCE, self.answer()).await;
        answer.unwrap_or_else(|_| panic!("no answer to {path}"))
    }

    /// The same with the body in a packet of its own, a moment later.
    pub async fn post_slowly(&mut self, path: &str, token: &str, body: &[u8]) -> Response {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        for bytes in [head.as_bytes(), body] {
            self.stream.write_all(bytes).await.expect("the connection stands");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let answer = timeout(PATIENCE, self.answer()).await;
        answer.unwrap_or_else(|_| panic!("no answer to {path}"))
    }

    async fn answer(&mut self) -> Response {
        loop {
            let text = String::from_utf8_lossy(&self.ahead);
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                let length: usize = header(head, "content-length").map_or(0, |n| n.parse().expect("a length"));
                let end = head.len() + 4 + length;
                if self.ahead.len() >= end {
                    let rest = self.ahead.split_off(end);
                    return parse(&std::mem::replace(&mut self.ahead, rest));
                }
            }
            let read = self.stream.read_buf(&mut self.ahead).await;
            assert!(read.expect("the connection stands") > 0, "closed before an answer");
        }
    }
}
