//! The hub of article 004: the user's number in the path, JSON with type, sender, receiver and content. It has no groups:
//! a group of all is a broadcast.

use anyhow::Result;
use serde_json::json;

use super::{Heard, Peer, Publish, To, Who};
use crate::wire::{Outgoing, upgrade::Upgrade};

const SEND: u64 = 1;
const BROADCAST: u64 = 3;

pub struct WsId;

impl Peer for WsId {
    fn upgrade(&self, who: &Who, _cursor: Option<&str>, path: &str) -> Result<Upgrade> {
        let base = if path.is_empty() { "/ws" } else { path };
        // 0 is nobody.
        Ok(Upgrade {
            path: format!("{base}/{}", who.number + 1),
            headers: Vec::new(),
        })
    }

    fn ready_at_once(&self) -> bool {
        true
    }

    fn hear(&self, _who: &Who, _frame: &[u8]) -> Heard {
        Heard::Nothing
    }

    fn publish(&self, to: To, body: &str, _id: u32) -> Result<Publish> {
        let (kind, receiver) = match to {
            To::User(number) => (SEND, number + 1),
            To::All | To::Group(_) => (BROADCAST, 0),
        };
        let frame = json!({"type": kind, "sender": 0, "receiver": receiver, "content": body});
        Ok(Publish::Frame(Outgoing::Text(frame.to_string().into_bytes())))
    }
}
