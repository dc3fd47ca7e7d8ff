//! What is kept: the question, and its answer.

use herald_proto::Target;

use super::Message;

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

#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    pub messages: Vec<Message>,
    pub more: bool,
    pub gap: bool,
}
