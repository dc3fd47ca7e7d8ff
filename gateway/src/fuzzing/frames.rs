//! The WebSocket's own bytes. The first says how large the pieces are in which the rest comes.

use crate::conn::receive::{Received, frames::Frames};

const MOST: usize = 1_000;

pub fn frames(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    let pieces = bytes.chunks(usize::from(*size).max(1));
    let whole = all(std::iter::once(bytes));
    let cut = all(pieces);
    assert_eq!(whole, cut, "how it is cut makes no difference");
    for received in whole.0 {
        match received {
            Received::Text(text) => assert!(text.len() <= MOST && std::str::from_utf8(&text).is_ok()),
            Received::Binary(bytes) => assert!(bytes.len() <= MOST),
            Received::Ping(payload) | Received::Pong(payload) => assert!(payload.len() <= 125),
            Received::Close(code) => assert!(code.is_none_or(|code| (1000..5000).contains(&code))),
            Received::Part => unreachable!("parts are left out"),
        }
    }
}

/// And the code of the close frame that ends it.
fn all<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Received>, Option<u16>) {
    let mut frames = Frames::new(MOST);
    let mut got = Vec::new();
    for piece in pieces {
        frames.put(piece);
        loop {
            match frames.take() {
                Ok(Some(Received::Part)) => {}
                Ok(Some(received)) => got.push(received),
                Ok(None) => break,
                Err(broken) => return (got, Some(broken.0.code())),
            }
        }
    }
    (got, None)
}
