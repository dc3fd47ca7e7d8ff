//! What clients say and hear, without regard to any wire format: dialects translate to and from these.

use bytes::Bytes;
use herald_proto::CloseCode;
use herald_router::failure::Failure;

pub use answer::{Answer, Connected, ErrorAnswer, Sent};
pub use call::Call;
pub use history::{History, HistoryOf, HistoryQuery};
pub use presence::{Presence, PresenceQuery, UserPresence, checked_users};
pub use push::{Message, Push};
pub use send::Send;
pub use tag::{Numbers, Tag};

mod answer;
mod call;
mod history;
mod presence;
mod push;
mod send;
mod tag;

/// The body of a message: JSON text, or bytes of another content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub bytes: Bytes,
    /// Empty: `application/json`, and then `bytes` is valid JSON of bounded depth.
    pub content_type: String,
}

/// What clients of the sender's own dialect get in place of a translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The dialect's name.
    pub dialect: String,
    /// What of it does not stand in the body.
    pub bytes: Bytes,
}

pub const JSON: &str = "application/json";
/// What a body is where nobody says.
pub const OCTETS: &str = "application/octet-stream";

/// A frame that is a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    pub tag: Tag,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Connect(Connect),
    Send(Box<Send>),
    Join {
        group: String,
    },
    Leave {
        group: String,
    },
    Refresh {
        token: String,
    },
    Ping,
    History(HistoryQuery),
    Presence(PresenceQuery),
    Watch {
        users: Vec<String>,
    },
    Unwatch {
        users: Vec<String>,
    },
    Call(Box<Call>),
    /// For the service that the configuration names for this number.
    Routed {
        opcode: u32,
        body: Bytes,
    },
    /// To be given back as it came.
    Echo {
        text: bool,
        payload: Bytes,
    },
    Close,
    /// A command with a value that cannot be, and why.
    Faulty(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connect {
    pub token: String,
    /// Who the client says it is, where it shows no token. Believed only where the dialect may.
    pub user: Option<String>,
    pub options: ConnectOptions,
}

/// What a client may ask for when it connects, in its first frame or in the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    pub cursor: Option<String>,
    pub since: Option<String>,
    pub device: Option<String>,
}

/// A frame that is no command, or one with a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame {
    /// Where it could be made out.
    pub tag: Tag,
    pub failure: Failure,
}

impl BadFrame {
    pub fn new(tag: impl Into<Tag>, message: impl Into<String>) -> Self {
        Self {
            tag: tag.into(),
            failure: Failure::bad_request(message),
        }
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this code, for the reason that belongs to it.
    Code(CloseCode),
    /// The client closed first, with this code, which is given back; None: without a code.
    Peer(Option<u16>),
}
