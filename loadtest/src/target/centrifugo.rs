//! Centrifugo's JSON protocol: commands and pushes are JSON objects, of which one frame may hold several lines. Channels
//! are subscribed to by the client, and published to by the HTTP API.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Heard, Peer, Publish, Server, To, Who, channel, channels};
use crate::wire::{Outgoing, upgrade::Upgrade};

pub struct Centrifugo {
    server: Server,
}

impl Centrifugo {
    pub fn new(server: Server) -> Self {
        Self { server }
    }
}

impl Peer for Centrifugo {
    fn upgrade(&self, _who: &Who, _cursor: Option<&str>, path: &str) -> Result<Upgrade> {
        let path = if path.is_empty() { "/connection/websocket" } else { path };
        Ok(Upgrade {
            path: path.to_owned(),
            headers: Vec::new(),
        })
    }

    fn hello(&self, who: &Who) -> Vec<Outgoing> {
        let mut connect = json!({"id": 1, "connect": {"name": "herald-loadtest"}});
        if let Some(minter) = &self.server.minter
            && let Ok(token) = minter.mint(&self.server.user(who.number), &[], false)
        {
            connect["connect"]["token"] = json!(token);
        }
        let all = channels(self.server.run, who);
        let wanted = if who.groups.is_empty() { &all[..] } else { &all[2..] };
        let subscribes = wanted
            .iter()
            .zip(2..)
            .map(|(name, id)| json!({"id": id, "subscribe": {"channel": name}}));
        let commands = [connect].into_iter().chain(subscribes);
        commands
            .map(|command| Outgoing::Text(command.to_string().into_bytes()))
            .collect()
    }

    fn hear(&self, _who: &Who, frame: &[u8]) -> Heard {
        if frame == b"{}" {
            return Heard::Reply(Outgoing::Text(b"{}".to_vec()));
        }
        for line in frame.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(reply) = serde_json::from_slice::<Value>(line) else {
                return Heard::Refused("a frame that is no JSON".into());
            };
            if let Some(error) = reply.get("error") {
                return Heard::Refused(error.to_string());
            }
            if reply.get("subscribe").is_some() {
                return Heard::Ready {
                    cursor: None,
                    gap: false,
                };
            }
        }
        Heard::Nothing
    }

    fn publish(&self, to: To, body: &str, _id: u32) -> Result<Publish> {
        let message = json!({"channel": channel(self.server.run, to), "data": {"body": body}});
        Ok(Publish::Post {
            path: "/api/publish".into(),
            headers: vec![
                ("x-api-key", self.server.api_key.clone()),
                ("content-type", "application/json".into()),
            ],
            body: message.to_string(),
        })
    }
}
