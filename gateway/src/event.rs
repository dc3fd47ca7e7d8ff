//! What clients say and hear, without regard to any wire format: dialects translate to and from these.

use bytes::Bytes;
use herald_proto::{
    CloseCode, ErrorCode, Target,
    cluster::{self, Stored},
    id::{self, IdError},
};
use herald_router::failure::Failure;

pub use call::Call;
pub use presence::{Presence, PresenceQuery, UserPresence, checked_users};
pub use tag::{Numbers, Tag};

mod call;
mod presence;
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    pub to: Target,
    pub body: Body,
    /// None: of a dialect whose own clients get no more of it than all others.
    pub original: Option<Original>,
    pub kind: Option<String>,
    pub durable: bool,
    pub key: Option<String>,
    pub ttl: u32,
    pub copy: bool,
}

impl Send {
    /// The rules that hold in every dialect.
    pub fn check(&self) -> Result<(), IdError> {
        self.to.check()?;
        for (name, label) in [("kind", &self.kind), ("key", &self.key)] {
            if let Some(label) = label {
                id::check(name, label)?;
            }
        }
        if !self.body.content_type.is_empty() {
            id::check("content_type", &self.body.content_type)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    pub of: HistoryOf,
    pub after: Option<String>,
    pub before: Option<String>,
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryOf {
    /// The client's own user's.
    Inbox,
    Group(String),
    All,
}

impl HistoryOf {
    /// Exactly one of the three, in every dialect.
    pub fn new(user: Option<bool>, group: Option<String>, all: Option<bool>) -> Result<Self, &'static str> {
        match (user.unwrap_or_default(), group, all.unwrap_or_default()) {
            (true, None, false) => Ok(Self::Inbox),
            (false, Some(group), false) => Ok(Self::Group(group)),
            (false, None, true) => Ok(Self::All),
            _ => Err("\"of\" must name exactly one of \"user\":true, group, \"all\":true"),
        }
    }

    pub fn target(self, user: &str) -> Target {
        match self {
            Self::Inbox => Target::user(user),
            Self::Group(group) => Target::group(group),
            Self::All => Target::All,
        }
    }
}

impl HistoryQuery {
    /// The rules that hold in every dialect; routers know the others, and do not know an unset limit from 0.
    pub fn check(self) -> Result<Self, &'static str> {
        if self.limit == Some(0) {
            return Err("limit must be 1 to 1000");
        }
        Ok(self)
    }
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

#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    pub messages: Vec<Message>,
    pub more: bool,
    pub gap: bool,
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

/// What a client hears without having asked. Nothing here may depend on who hears it: a push is encoded once for all.
#[derive(Debug, Clone, PartialEq)]
pub enum Push {
    Message(Message),
    Group {
        group: String,
        joined: bool,
    },
    Presence {
        user: String,
        online: bool,
        since: u64,
    },
    /// All up to here has been given.
    Cursor(String),
    Notice {
        code: &'static str,
        message: &'static str,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: String,
    pub from: Option<String>,
    pub to: Target,
    pub kind: Option<String>,
    pub body: Body,
    /// Boxed, for most have none.
    pub original: Option<Box<Original>>,
    pub time: u64,
    pub offset: Option<String>,
}

impl Message {
    /// What was stored for `target`; a copy in its sender's inbox tells whom the message was for.
    pub fn new(target: &Target, stored: Stored, offset: Option<String>) -> Self {
        let original = (!stored.dialect.is_empty()).then(|| Original {
            dialect: stored.dialect,
            bytes: stored.original,
        });
        Self {
            id: stored.id,
            from: stored.from,
            to: stored.to.and_then(Target::from_proto).unwrap_or_else(|| target.clone()),
            kind: stored.kind,
            body: Body {
                bytes: stored.body,
                content_type: stored.content_type,
            },
            original: original.map(Box::new),
            time: stored.time,
            offset,
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
