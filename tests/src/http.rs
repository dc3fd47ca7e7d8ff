//! HTTP/1.1 by hand: one request, one connection. Small enough to send what a good client never would.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::PATIENCE;

mod keep;

pub use keep::Kept;

/// The key that the server API takes with `--dev`.
pub const DEV_API_KEY: &str = "dev-api-key";

#[derive(Debug)]
pub struct Response {
    /// 0 where the server closed the connection without an answer.
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

pub async fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[], b"").await
}

/// POST of JSON with an API key.
pub async fn post(address: SocketAddr, path: &str, key: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    request(address, "POST", path, &headers, body.to_string().as_bytes()).await
}

/// `POST /api/v1/messages` with the development key; the results of a call that must succeed.
pub async fn messages(admin: SocketAddr, body: &Value) -> Vec<Value> {
    let response = post(admin, "/api/v1/messages", DEV_API_KEY, body).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["results"].as_array().expect("results").clone()
}

/// A `Host` header among `headers` stands in place of the right one.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("Host: {address}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    exchange(address, &[head.as_bytes(), body].concat()).await
}

/// Sends bytes as they are, and reads until the server closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Response {
    let mut answer = Vec::new();
    let talk = async {
        let stream = TcpStream::connect(address).await?;
        let (mut reader, mut writer) = stream.into_split();
        // A server may answer and close before it has read all; then the write fails, and the answer counts.
        let write = async {
            let _ = writer.write_all(bytes).await;
        };
        let read = reader.read_to_end(&mut answer);
        tokio::join!(write, read).1
    };
    let ended = timeout(PATIENCE, talk).await;
    assert!(
        ended.is_ok(),
        "no end of the answer: {:?}",
        String::from_utf8_lossy(&answer)
    );
    parse(&answer)
}

fn parse(answer: &[u8]) -> Response {
    let text = String::from_utf8_lossy(answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let chunked = header(head, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    Response {
        status,
        head: head.to_owned(),
        body: if chunked { unchunk(body) } else { body.to_owned() },
    }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        if size == 0 {
            break;
        }
        body += &after[..size];
        rest = &after[size + 2..];
    }
    body
}
