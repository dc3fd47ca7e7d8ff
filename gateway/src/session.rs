//! What a connection's frames mean: the pure core between dialect and cluster. A frame goes in, and whether it comes too
//! fast; what is to be done comes out. Nothing here waits or sends.

use bytes::Bytes;
use herald_proto::{CloseCode, ErrorCode, Target, limits::BAD_FRAMES};

use crate::{
    auth::Identity,
    event::{Answer, BadFrame, Call, Command, Connect, ErrorAnswer, HistoryQuery, Inbound, PresenceQuery, Send, Tag},
    pace::TooFast,
};

/// The state of one connection's conversation.
#[derive(Default)]
pub struct Session {
    /// None: the client has not said yet who it is.
    who: Option<Who>,
    bad_in_a_row: u8,
    serial: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Who {
    user: Box<str>,
    broadcast: bool,
}

/// What is to be done about a frame.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Answer at once; nothing if the client wants none.
    Answer(Tag, Answer),
    /// Answer and close.
    Refuse(Tag, Answer, CloseCode),
    /// Verify who it is and connect.
    Connect { tag: Tag, connect: Connect },
    /// The client wants to go.
    Close,
    /// Ask a router, in the order of these commands.
    Ordered { tag: Tag, serial: u64, command: Ordered },
    /// Ask a router, beside all other commands.
    Beside { tag: Tag, command: Beside },
    /// Verify the token, which must be of this user.
    Refresh { tag: Tag, token: String },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Ordered {
    Send { send: Box<Send>, broadcast: bool },
    Join { group: String },
    Leave { group: String },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Beside {
    History(HistoryQuery),
    Presence(PresenceQuery),
    Watch { users: Vec<String> },
    Unwatch { users: Vec<String> },
    Call(Box<Call>),
    Routed { opcode: u32, body: Bytes },
}

impl Ordered {
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
        }
    }

    pub fn is_to_user(&self, user: &str) -> bool {
        matches!(self, Self::Send { send, .. } if matches!(&send.to, Target::User(to) if **to == *user))
    }
}

impl Beside {
    /// Whether it comes after others of its kind, rather than beside them.
    pub fn is_in_turn(&self) -> bool {
        matches!(self, Self::Watch { .. } | Self::Unwatch { .. } | Self::Routed { .. })
    }

    pub fn verb(&self) -> &'static str {
        match self {
            Self::History(_) => "history",
            Self::Presence(_) => "presence",
            Self::Watch { .. } => "watch",
            Self::Unwatch { .. } => "unwatch",
            Self::Call(_) | Self::Routed { .. } => "call",
        }
    }
}

impl Session {
    pub fn new() -> Self {
        Self::default()
    }

    /// The token has been verified and the cluster knows the user.
    pub fn connected(&mut self, identity: &Identity) {
        self.who = Some(Who {
            user: identity.user.as_str().into(),
            broadcast: identity.broadcast,
        });
    }

    pub fn user(&self) -> Option<&str> {
        self.who.as_ref().map(|who| &*who.user)
    }

    /// A refreshed token may grant more, or less.
    pub fn refreshed(&mut self, identity: &Identity) {
        if let Some(who) = &mut self.who {
            who.broadcast = identity.broadcast;
        }
    }

    pub fn on_frame(&mut self, frame: Result<Inbound, BadFrame>, pace: Result<(), TooFast>) -> Action {
        if let Err(too_fast) = pace {
            return limited(frame.map_or_else(|bad| bad.tag, |inbound| inbound.tag), too_fast);
        }
        match frame {
            Ok(inbound) => {
                self.bad_in_a_row = 0;
                self.command(inbound)
            }
            Err(bad) => self.bad(bad),
        }
    }

    fn bad(&mut self, bad: BadFrame) -> Action {
        self.bad_in_a_row += 1;
        let answer = Answer::from(bad.failure);
        if self.bad_in_a_row >= BAD_FRAMES || self.who.is_none() {
            Action::Refuse(bad.tag, answer, CloseCode::NotTheProtocol)
        } else {
            Action::Answer(bad.tag, answer)
        }
    }

    fn command(&mut self, Inbound { tag, command }: Inbound) -> Action {
        let Some(who) = &self.who else {
            return match command {
                Command::Connect(connect) => Action::Connect { tag, connect },
                _ => Action::Refuse(
                    tag,
                    error(ErrorCode::Unauthorized, "the first frame must be connect"),
                    CloseCode::NotTheProtocol,
                ),
            };
        };
        let ordered = match command {
            Command::Connect(_) => return bad_request(tag, "connected already"),
            Command::Ping => return Action::Answer(tag, Answer::Pong),
            Command::Refresh { token } => return Action::Refresh { tag, token },
            Command::History(query) => return beside(tag, Beside::History(query)),
            Command::Presence(query) => return beside(tag, Beside::Presence(query)),
            Command::Watch { users } => return beside(tag, Beside::Watch { users }),
            Command::Unwatch { users } => return beside(tag, Beside::Unwatch { users }),
            Command::Call(call) => return beside(tag, Beside::Call(call)),
            Command::Routed { opcode, body } => return beside(tag, Beside::Routed { opcode, body }),
            Command::Echo { text, payload } => return Action::Answer(tag, Answer::Echo { text, payload }),
            Command::Close => return Action::Close,
            Command::Faulty(why) => return bad_request(tag, &why),
            Command::Send(send) => Ordered::Send {
                send,
                broadcast: who.broadcast,
            },
            Command::Join { group } => Ordered::Join { group },
            Command::Leave { group } => Ordered::Leave { group },
        };
        self.serial += 1;
        Action::Ordered {
            tag,
            serial: self.serial,
            command: ordered,
        }
    }
}

/// Told first, and closed if it goes on.
fn limited(tag: Tag, TooFast { wait, is_flood }: TooFast) -> Action {
    let answer = Answer::Error(ErrorAnswer {
        code: ErrorCode::RateLimited,
        message: "too many commands, or too much in them".to_owned(),
        after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
    });
    match is_flood {
        true => Action::Refuse(tag, answer, CloseCode::RateLimited),
        false => Action::Answer(tag, answer),
    }
}

fn error(code: ErrorCode, message: &str) -> Answer {
    herald_router::failure::Failure::new(code, message).into()
}

fn beside(tag: Tag, command: Beside) -> Action {
    Action::Beside { tag, command }
}

fn bad_request(tag: Tag, message: &str) -> Action {
    Action::Answer(tag, error(ErrorCode::BadRequest, message))
}

#[cfg(test)]
mod tests;
