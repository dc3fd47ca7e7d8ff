//! What a connection's frames mean: the pure core between dialect and cluster. A frame and the time go in, what is to be
//! done comes out; nothing here waits or sends.

use std::time::Instant;

use herald_proto::{CloseCode, ErrorCode, limits::BAD_FRAMES};

use crate::{
    auth::Identity,
    event::{Answer, BadFrame, Call, Command, ConnectOptions, ErrorAnswer, HistoryQuery, Inbound, PresenceQuery, Send},
    rate::Rate,
};

/// The state of one connection's conversation.
pub struct Session {
    /// None: the client has not said yet who it is.
    who: Option<Who>,
    rate: Rate,
    bad_in_a_row: u8,
    limited_in_a_row: u32,
    serial: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Who {
    user: String,
    broadcast: bool,
}

/// What is to be done about a frame.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Answer at once; nothing if the client wants none.
    Answer(Option<u32>, Answer),
    /// Answer and close.
    Refuse(Option<u32>, Answer, CloseCode),
    /// Verify the token and connect.
    Connect {
        id: Option<u32>,
        token: String,
        options: ConnectOptions,
    },
    /// Ask a router, in the order of these commands.
    Ordered {
        id: Option<u32>,
        serial: u64,
        command: Ordered,
    },
    /// Ask a router, beside all other commands.
    Beside { id: Option<u32>, command: Beside },
    /// Verify the token, which must be of this user.
    Refresh { id: Option<u32>, token: String },
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
}

impl Beside {
    pub fn verb(&self) -> &'static str {
        match self {
            Self::History(_) => "history",
            Self::Presence(_) => "presence",
            Self::Watch { .. } => "watch",
            Self::Unwatch { .. } => "unwatch",
            Self::Call(_) => "call",
        }
    }
}

/// Refused commands in a row after which the client is taken for one that cannot be told.
const FLOOD: u32 = 1_000;

impl Session {
    pub fn new(rate: Rate) -> Self {
        Self {
            who: None,
            rate,
            bad_in_a_row: 0,
            limited_in_a_row: 0,
            serial: 0,
        }
    }

    /// The token has been verified and the cluster knows the user.
    pub fn connected(&mut self, identity: &Identity) {
        self.who = Some(Who {
            user: identity.user.clone(),
            broadcast: identity.broadcast,
        });
    }

    pub fn user(&self) -> Option<&str> {
        self.who.as_ref().map(|who| who.user.as_str())
    }

    /// A refreshed token may grant more, or less.
    pub fn refreshed(&mut self, identity: &Identity) {
        if let Some(who) = &mut self.who {
            who.broadcast = identity.broadcast;
        }
    }

    pub fn on_frame(&mut self, frame: Result<Inbound, BadFrame>, now: Instant) -> Action {
        if let Err(wait) = self.rate.take(now) {
            return self.limited(frame.map_or_else(|bad| bad.id, |inbound| inbound.id), wait);
        }
        self.limited_in_a_row = 0;
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
            Action::Refuse(bad.id, answer, CloseCode::NotTheProtocol)
        } else {
            Action::Answer(bad.id, answer)
        }
    }

    fn limited(&mut self, id: Option<u32>, wait: std::time::Duration) -> Action {
        self.limited_in_a_row += 1;
        let answer = Answer::Error(ErrorAnswer {
            code: ErrorCode::RateLimited,
            message: "too many commands".to_owned(),
            after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
        });
        if self.limited_in_a_row >= FLOOD {
            Action::Refuse(id, answer, CloseCode::RateLimited)
        } else {
            Action::Answer(id, answer)
        }
    }

    fn command(&mut self, Inbound { id, command }: Inbound) -> Action {
        let Some(who) = &self.who else {
            return match command {
                Command::Connect(connect) => Action::Connect {
                    id,
                    token: connect.token,
                    options: connect.options,
                },
                _ => Action::Refuse(
                    id,
                    error(ErrorCode::Unauthorized, "the first frame must be connect"),
                    CloseCode::NotTheProtocol,
                ),
            };
        };
        let ordered = match command {
            Command::Connect(_) => return bad_request(id, "connected already"),
            Command::Ping => return Action::Answer(id, Answer::Pong),
            Command::Refresh { token } => return Action::Refresh { id, token },
            Command::History(query) => return beside(id, Beside::History(query)),
            Command::Presence(query) => return beside(id, Beside::Presence(query)),
            Command::Watch { users } => return beside(id, Beside::Watch { users }),
            Command::Unwatch { users } => return beside(id, Beside::Unwatch { users }),
            Command::Call(call) => return beside(id, Beside::Call(call)),
            Command::Faulty(why) => return bad_request(id, &why),
            Command::Send(send) => Ordered::Send {
                send,
                broadcast: who.broadcast,
            },
            Command::Join { group } => Ordered::Join { group },
            Command::Leave { group } => Ordered::Leave { group },
        };
        self.serial += 1;
        Action::Ordered {
            id,
            serial: self.serial,
            command: ordered,
        }
    }
}

fn error(code: ErrorCode, message: &str) -> Answer {
    herald_router::failure::Failure::new(code, message).into()
}

fn beside(id: Option<u32>, command: Beside) -> Action {
    Action::Beside { id, command }
}

fn bad_request(id: Option<u32>, message: &str) -> Action {
    Action::Answer(id, error(ErrorCode::BadRequest, message))
}

#[cfg(test)]
mod tests;
