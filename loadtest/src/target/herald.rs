//! Herald's native JSON frames, and its server API.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Heard, Peer, Publish, Server, To, Who};
use crate::wire::{Outgoing, upgrade::Upgrade};

pub struct Herald {
    server: Server,
    by_api: bool,
}

impl Herald {
    pub fn new(server: Server, by_api: bool) -> Self {
        Self { server, by_api }
    }
}

/// The path with token and cursor: a client is connected with the upgrade.
pub fn upgrade(server: &Server, who: &Who, cursor: Option<&str>, path: &str, protocol: &str) -> Result<Upgrade> {
    let groups: Vec<String> = who.groups.iter().map(|group| server.group(*group)).collect();
    let minter = server.minter.as_ref().context("Herald's clients need --secret")?;
    let sender = who.number >= Who::SENDERS;
    let token = minter.mint(&server.user(who.number), &groups, sender)?;
    let path = if path.is_empty() { "/ws" } else { path };
    let mut path = format!("{path}?token={token}");
    if let Some(cursor) = cursor {
        // Letters, digits and a few marks, of which none needs an escape in a query but these.
        let cursor = cursor
            .replace('%', "%25")
            .replace('&', "%26")
            .replace('+', "%2B")
            .replace('#', "%23");
        path.push_str("&cursor=");
        path.push_str(&cursor);
    }
    Ok(Upgrade {
        path,
        headers: vec![("Sec-WebSocket-Protocol", protocol.to_owned())],
    })
}

fn target(server: &Server, to: To) -> Value {
    match to {
        To::All => json!({"all": true}),
        To::User(number) => json!({"user": server.user(number)}),
        To::Group(number) => json!({"group": server.group(number)}),
    }
}

/// By the server API.
pub fn post(server: &Server, to: To, body: &str) -> Publish {
    let message = json!({"to": target(server, to), "body": body, "durable": server.durable});
    Publish::Post {
        path: "/api/v1/messages".into(),
        headers: vec![
            ("authorization", format!("Bearer {}", server.api_key)),
            ("content-type", "application/json".into()),
        ],
        body: message.to_string(),
    }
}

#[derive(Deserialize)]
struct Push {
    #[serde(default)]
    id: u32,
    connected: Option<Connected>,
    error: Option<Failure>,
    cursor: Option<String>,
    notice: Option<Notice>,
}

#[derive(Deserialize)]
struct Connected {
    cursor: Option<String>,
    #[serde(default)]
    gap: bool,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Notice {
    code: String,
}

impl Peer for Herald {
    fn upgrade(&self, who: &Who, cursor: Option<&str>, path: &str) -> Result<Upgrade> {
        upgrade(&self.server, who, cursor, path, "herald.v1.json")
    }

    fn hear(&self, _who: &Who, frame: &[u8]) -> Heard {
        let Ok(push) = serde_json::from_slice::<Push>(frame) else {
            return Heard::Refused("a frame that is no JSON object".into());
        };
        let Push {
            id,
            connected,
            error,
            cursor,
            notice,
        } = push;
        if let Some(Connected { cursor, gap }) = connected {
            return Heard::Ready { cursor, gap };
        }
        if let Some(cursor) = cursor {
            return Heard::Cursor(cursor);
        }
        if notice.is_some_and(|notice| notice.code == "gap") {
            return Heard::Gap;
        }
        let error = error.map(|Failure { code, message }| format!("{code}: {message}"));
        match (id, error) {
            (0, None) => Heard::Nothing,
            (0, Some(error)) => Heard::Refused(error),
            (id, error) => Heard::Answer { id, error },
        }
    }

    fn publish(&self, to: To, body: &str, id: u32) -> Result<Publish> {
        if self.by_api {
            return Ok(post(&self.server, to, body));
        }
        let send = json!({"to": target(&self.server, to), "body": body, "durable": self.server.durable});
        let frame = json!({"id": id, "send": send});
        Ok(Publish::Frame(Outgoing::Text(frame.to_string().into_bytes())))
    }

    fn publish_under(&self, key: &str, to: To, body: &str, id: u32) -> Result<Publish> {
        let send = json!({"to": target(&self.server, to), "body": body, "durable": true, "key": key});
        let frame = json!({"id": id, "send": send});
        Ok(Publish::Frame(Outgoing::Text(frame.to_string().into_bytes())))
    }

    fn answers(&self) -> bool {
        !self.by_api
    }
}
