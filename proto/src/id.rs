//! Ids of users and groups: 1 to 128 bytes of UTF-8 without control characters.

use std::time::{SystemTime, UNIX_EPOCH};

/// The longest id of a user or a group, in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// The longest `key` and `kind` of a message, and `device` of a connection, in bytes.
pub const MAX_LABEL_BYTES: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("{0} must not be empty")]
    Empty(&'static str),
    #[error("{0} is longer than 128 bytes")]
    TooLong(&'static str),
    #[error("{0} holds a control character")]
    Control(&'static str),
}

/// Checks the id of a user or a group; `what` names it in the error.
pub fn check(what: &'static str, id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        Err(IdError::Empty(what))
    } else if id.len() > MAX_ID_BYTES {
        Err(IdError::TooLong(what))
    } else if id.chars().any(char::is_control) {
        Err(IdError::Control(what))
    } else {
        Ok(())
    }
}

/// A fresh message id: UUIDv7, so that ids made later sort later.
pub fn message_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The wall clock as Unix milliseconds, the unit of every `time` on the wire.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_free_of_control_characters() {
        assert_eq!(check("user", "小明 *.>"), Ok(()));
        assert_eq!(check("user", &"x".repeat(128)), Ok(()));
        assert_eq!(check("user", ""), Err(IdError::Empty("user")));
        assert_eq!(check("user", &"x".repeat(129)), Err(IdError::TooLong("user")));
        for bad in ["a\nb", "\u{0}", "\u{7f}", "\u{85}"] {
            assert_eq!(check("user", bad), Err(IdError::Control("user")));
        }
    }
}
