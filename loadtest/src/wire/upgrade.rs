//! The upgrade of an HTTP/1.1 connection to WebSocket, seen from either side.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::WireError;

const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct Upgrade {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
}

/// Asks, and reads the answer. What the server has sent behind its answer is returned.
pub async fn upgrade(stream: &mut TcpStream, host: &str, ask: &Upgrade) -> Result<Vec<u8>, WireError> {
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let mut head = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        ask.path
    );
    for (name, value) in &ask.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(WireError::NotHttp("closed before it answered".into()));
        }
        if let Some(length) = check(&answer, &key)? {
            answer.drain(..length);
            return Ok(answer);
        }
        if answer.len() > MAX_HEAD {
            return Err(WireError::NotHttp("an endless answer".into()));
        }
    }
}

/// The length of the answer's head, once it is whole.
fn check(answer: &[u8], key: &str) -> Result<Option<usize>, WireError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(answer)
        .map_err(|error| WireError::NotHttp(error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    if status != 101 {
        let text = String::from_utf8_lossy(&answer[length..]);
        let text = text.chars().take(200).collect();
        return Err(WireError::Refused { status, text });
    }
    let expected = accept(key);
    let mut accepts = response
        .headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case("Sec-WebSocket-Accept"));
    if accepts.next().is_none_or(|header| header.value != expected.as_bytes()) {
        return Err(WireError::NotHttp("a wrong Sec-WebSocket-Accept".into()));
    }
    Ok(Some(length))
}

/// What a server answers to a key (RFC 6455, 4.2.2).
pub fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_key_of_the_rfc_is_accepted() {
        assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_answer_may_come_in_parts_and_with_frames_behind_it() {
        let half = &GOOD.as_bytes()[..40];
        assert!(matches!(check(half, KEY), Ok(None)));
        let more = format!("{GOOD}frame");
        assert!(matches!(check(more.as_bytes(), KEY), Ok(Some(length)) if length == GOOD.len()));
    }

    #[test]
    fn refusals_are_told_with_their_text() {
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        let refused = check(answer, KEY).expect_err("a refusal");
        assert!(matches!(refused, WireError::Refused { status: 403, text } if text == "no"));
    }

    #[test]
    fn an_answer_to_another_key_is_none() {
        assert!(check(GOOD.as_bytes(), "another").is_err());
    }
}
