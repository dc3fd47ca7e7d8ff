//! Whom a message is for.

use std::sync::Arc;

use crate::{cluster, id};

/// A user's inbox, a group, or everybody. Each has its own order of messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    User(Arc<str>),
    Group(Arc<str>),
    All,
}

impl Target {
    pub fn user(id: impl Into<Arc<str>>) -> Self {
        Self::User(id.into())
    }

    pub fn group(id: impl Into<Arc<str>>) -> Self {
        Self::Group(id.into())
    }

    /// `user`, `group` or `all`: for metrics and messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::All => "all",
        }
    }

    pub fn check(&self) -> Result<(), id::IdError> {
        match self {
            Self::User(user) => id::check("user", user),
            Self::Group(group) => id::check("group", group),
            Self::All => Ok(()),
        }
    }

    pub fn to_proto(&self) -> cluster::Target {
        use cluster::target::To;
        let to = match self {
            Self::User(user) => To::User(user.to_string()),
            Self::Group(group) => To::Group(group.to_string()),
            Self::All => To::All(true),
        };
        cluster::Target { to: Some(to) }
    }

    /// None where the message names no target.
    pub fn from_proto(target: cluster::Target) -> Option<Self> {
        use cluster::target::To;
        match target.to? {
            To::User(user) => Some(Self::user(user)),
            To::Group(group) => Some(Self::group(group)),
            To::All(_) => Some(Self::All),
        }
    }
}
