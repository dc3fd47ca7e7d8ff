//! Messages that must be sent: under one key each, again and again while their outcome is unknown.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::heard::{split, target_of};

/// Commands that one connection has in flight at most.
const WINDOW: usize = 32;

struct Command {
    to: Value,
    body: Value,
    key: String,
    /// Not before this.
    due: Instant,
}

/// What an answer `sent` said.
#[derive(Debug, Clone)]
pub struct Sent {
    pub target: String,
    pub sequence: u64,
    pub id: String,
    pub body: Value,
    pub duplicate: bool,
}

#[derive(Default)]
pub struct Outgoing {
    waiting: VecDeque<Command>,
    in_flight: HashMap<u64, Command>,
    last_id: u64,
    pub sent: Vec<Sent>,
    /// How often a command was tried again.
    pub retries: usize,
}

impl Outgoing {
    pub fn push(&mut self, to: Value, body: Value, key: String) {
        let due = Instant::now();
        self.waiting.push_back(Command { to, body, key, due });
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// The next frame to send, if one may go now.
    pub fn next_frame(&mut self) -> Option<Value> {
        let now = Instant::now();
        if self.in_flight.len() >= WINDOW {
            return None;
        }
        let at = self.waiting.iter().position(|command| command.due <= now)?;
        let command = self.waiting.remove(at)?;
        // Far above the ids that the client itself gives out.
        self.last_id += 1;
        let id = self.last_id + (1 << 31);
        let frame = json!({"id": id, "send": {"to": command.to, "body": command.body, "key": command.key}});
        self.in_flight.insert(id, command);
        Some(frame)
    }

    /// When `next_frame` should be asked again, where nothing is answered before.
    pub fn due(&self) -> Option<Instant> {
        if self.in_flight.len() >= WINDOW {
            return None;
        }
        self.waiting.iter().map(|command| command.due).min()
    }

    /// Takes an answer; false where the frame is none of ours.
    pub fn answered(&mut self, frame: &Value) -> bool {
        let Some(mut command) = frame["id"].as_u64().and_then(|id| self.in_flight.remove(&id)) else {
            return false;
        };
        if let Some(sent) = frame.get("sent") {
            self.sent.push(Sent {
                target: target_of(&command.to),
                sequence: split(&sent["offset"]).1,
                id: sent["id"].as_str().expect("an id").to_owned(),
                body: command.body,
                duplicate: sent["duplicate"] == true,
            });
            return true;
        }
        let error = &frame["error"];
        assert_eq!(error["retry"], true, "{frame} for {}", command.body);
        let pause = Duration::from_millis(error["after_ms"].as_u64().unwrap_or(100));
        command.due = Instant::now() + pause;
        self.retries += 1;
        self.waiting.push_front(command);
        true
    }

    /// The connection is gone: what was in flight is unknown, and goes again.
    pub fn lost(&mut self) {
        let mut unknown: Vec<_> = self.in_flight.drain().collect();
        unknown.sort_by_key(|(id, _)| *id);
        self.retries += unknown.len();
        for (_, command) in unknown.into_iter().rev() {
            self.waiting.push_front(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_goes_again_under_its_key() {
        let mut outgoing = Outgoing::default();
        for n in 0..3 {
            outgoing.push(json!({"user": "bob"}), json!(n), format!("k{n}"));
        }
        let frames: Vec<Value> = std::iter::from_fn(|| outgoing.next_frame()).collect();
        let sent = json!({"id": "m0", "offset": "a.0:7", "duplicate": false});
        assert!(outgoing.answered(&json!({"id": frames[0]["id"], "sent": sent})));
        assert!(!outgoing.answered(&json!({"id": 1, "pong": {}})));
        outgoing.lost();
        let again: Vec<Value> = std::iter::from_fn(|| outgoing.next_frame()).collect();
        let keys: Vec<&Value> = again.iter().map(|frame| &frame["send"]["key"]).collect();
        assert_eq!(keys, ["k1", "k2"]);
        let error = json!({"code": "unavailable", "retry": true, "after_ms": 60_000});
        assert!(outgoing.answered(&json!({"id": again[0]["id"], "error": error})));
        assert!(outgoing.next_frame().is_none() && outgoing.due().is_some(), "it waits");
        assert_eq!((outgoing.sent.len(), outgoing.sent[0].sequence), (1, 7));
        assert_eq!(outgoing.retries, 3);
    }
}
