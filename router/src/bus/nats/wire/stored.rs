//! Of a live copy's headers what tells where and when it was stored.

use crate::bus::{StoredAt, nats::time::unix_ms};

/// None for an ephemeral message: only the server adds a sequence.
pub(super) fn stored_at(headers: &[u8]) -> Option<StoredAt> {
    let (mut sequence, mut previous, mut time) = (None, None, None);
    for line in headers.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let value = std::str::from_utf8(&line[colon + 1..]).ok().map(str::trim);
        match &line[..colon] {
            b"Nats-Sequence" => sequence = value.and_then(|text| text.parse().ok()),
            b"Nats-Last-Sequence" => previous = value.and_then(|text| text.parse().ok()),
            b"Nats-Time-Stamp" => time = value.and_then(unix_ms),
            _ => {}
        }
    }
    Some(StoredAt {
        sequence: sequence?,
        previous: previous.unwrap_or_default(),
        time_ms: time?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_stored_has_a_place() {
        let headers = b"NATS/1.0\r\nNats-Msg-Id: x\r\nNats-Stream: S\r\nNats-Subject: a:b\r\nNats-Sequence: 12\r\n\
            Nats-Last-Sequence: 9\r\nNats-Time-Stamp: 1970-01-01T00:00:01.5Z\r\n\r\n";
        let at = StoredAt {
            sequence: 12,
            previous: 9,
            time_ms: 1500,
        };
        assert_eq!(stored_at(headers), Some(at));
        assert_eq!(stored_at(b""), None);
        assert_eq!(stored_at(b"NATS/1.0\r\nNats-Msg-Id: x\r\n\r\n"), None);
        assert_eq!(
            stored_at(b"NATS/1.0\r\nNats-Sequence: twelve\r\nNats-Time-Stamp: 1970-01-01T00:00:01.5Z\r\n\r\n"),
            None
        );
    }
}
