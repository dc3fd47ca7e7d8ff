//! What a command is to be answered by.

use bytes::Bytes;

/// Made by a dialect with each command, and given back to it with the answer: nobody else looks into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tag {
    /// No answer is wanted. Failures are told all the same.
    #[default]
    None,
    /// Of the native dialects.
    Id(u32),
    /// The answer is recognised by what it is.
    Plain,
    Opcode(u32),
    /// The very frame by which the client logged in.
    Login(Box<Bytes>),
    Numbers(Box<Numbers>),
}

/// Of article 004: its answers repeat them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub sender: u64,
    pub receiver: u64,
    /// A message was sent to one user, and its sender is told whether it reached him.
    pub receipt: bool,
}

impl Tag {
    pub fn wants_answer(&self) -> bool {
        !matches!(self, Self::None)
    }

    pub fn id(&self) -> Option<u32> {
        match self {
            Self::Id(id) => Some(*id),
            _ => None,
        }
    }
}

impl From<Option<u32>> for Tag {
    fn from(id: Option<u32>) -> Self {
        id.map_or(Self::None, Self::Id)
    }
}
