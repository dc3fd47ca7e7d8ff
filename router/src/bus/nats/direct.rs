//! What comes back from direct gets that ask for several messages.

use async_nats::{HeaderMap, Message};

use crate::bus::{BusError, Result};

/// Bytes of one answer: it stays below what would make the server drop us as slow.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// One answer of a batch.
pub(super) enum Answer {
    Message(Message),
    /// The batch ends here; `left` more match.
    End {
        headers: HeaderMap,
        left: u64,
    },
    /// Nothing matches.
    Nothing,
    /// A message that belongs to the answer went while it was gathered.
    BrokenOff,
}

/// What an answer's status says; `Err` for those that are failures.
pub(super) fn answer(message: Message) -> Result<Answer> {
    let Some(status) = message.status else {
        return Ok(Answer::Message(message));
    };
    match status.as_u16() {
        204 => {
            let headers = message.headers.unwrap_or_default();
            let left = header_number(&headers, "Nats-Num-Pending").unwrap_or_default();
            Ok(Answer::End { headers, left })
        }
        404 if message.description.as_deref() == Some("No Results") => Ok(Answer::Nothing),
        404 => Ok(Answer::BrokenOff),
        503 => Err(BusError::Unavailable("the stream is not there".to_owned())),
        code => Err(BusError::Refused(format!(
            "{code} {}",
            message.description.unwrap_or_default()
        ))),
    }
}

pub(super) fn header_number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}
