//! What comes unasked.

use herald_proto::{Target, cluster::Stored};

use super::{Body, Original};

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
