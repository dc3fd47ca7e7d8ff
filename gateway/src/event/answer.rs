//! What a command is answered with.

use bytes::Bytes;
use herald_proto::{ErrorCode, cluster};
use herald_router::failure::Failure;

use super::{Body, History, Presence, UserPresence};

/// What a command is answered with.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Connected(Box<Connected>),
    Sent(Sent),
    Joined { group: String },
    Left { group: String },
    Refreshed { expires: u64 },
    History(History),
    Presence(Presence),
    Watching(Vec<(String, UserPresence)>),
    Result(Body),
    Pong,
    Echo { text: bool, payload: Bytes },
    Error(ErrorAnswer),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connected {
    pub user: String,
    pub connection: String,
    pub node: String,
    pub groups: Vec<String>,
    pub cursor: Option<String>,
    pub resumed: bool,
    pub gap: bool,
    /// Seconds.
    pub ping: u32,
    pub expires: u64,
    pub time: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// None, and no time: the first message with this key is no longer kept.
    pub id: Option<String>,
    pub offset: Option<String>,
    pub online: Option<bool>,
    pub duplicate: bool,
    pub time: Option<u64>,
}

impl From<cluster::Sent> for Sent {
    fn from(sent: cluster::Sent) -> Self {
        Self {
            id: (!sent.id.is_empty()).then_some(sent.id),
            offset: (sent.sequence > 0).then(|| format!("{}:{}", sent.log, sent.sequence)),
            online: sent.online,
            duplicate: sent.duplicate,
            time: (sent.time > 0).then_some(sent.time),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    pub code: ErrorCode,
    pub message: String,
    pub after_ms: Option<u64>,
}

impl From<Failure> for ErrorAnswer {
    fn from(failure: Failure) -> Self {
        // Long enough that a retry does not meet the same fault, short enough that nobody notices the wait.
        let after_ms = failure.code.retry().then_some(500);
        Self {
            code: failure.code,
            message: failure.message,
            after_ms,
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Answer::Error(failure.into())
    }
}
