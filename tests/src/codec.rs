//! The protobuf dialect, put so that tests speak JSON alone: a command as PROTOCOL.md writes it in, a frame likewise out.

use base64::{Engine, engine::general_purpose::STANDARD};
use herald_proto::client::{
    Call, ClientFrame, Connect, HistoryQuery, Join, Leave, Message, Ping, PresenceQuery, Refresh, Send, ServerFrame,
    Target, UserPresence, Watch, server_frame::Frame,
};
use prost::{Message as _, bytes::Bytes};
use serde_json::{Map, Value, json};

/// A JSON command as a ClientFrame. `body_base64` and `content_type` stand for a body that is not JSON.
pub fn encode(command: &Value) -> Vec<u8> {
    let verb = |name: &str| command.get(name);
    let frame = ClientFrame {
        id: command["id"]
            .as_u64()
            .map_or(0, |id| u32::try_from(id).expect("a 32-bit id")),
        connect: verb("connect").map(|c| Connect {
            token: text(c, "token").unwrap_or_default(),
            cursor: text(c, "cursor"),
            since: text(c, "since"),
            device: text(c, "device"),
        }),
        send: verb("send").map(send),
        join: verb("join").map(|c| Join {
            group: text(c, "group").unwrap_or_default(),
        }),
        leave: verb("leave").map(|c| Leave {
            group: text(c, "group").unwrap_or_default(),
        }),
        presence: verb("presence").map(|c| PresenceQuery {
            users: texts(c, "users"),
            group: text(c, "group"),
        }),
        watch: verb("watch").map(|c| Watch {
            users: texts(c, "users"),
        }),
        unwatch: verb("unwatch").map(|c| Watch {
            users: texts(c, "users"),
        }),
        history: verb("history").map(|c| HistoryQuery {
            user: c["of"]["user"].as_bool(),
            group: text(&c["of"], "group"),
            all: c["of"]["all"].as_bool(),
            after: text(c, "after"),
            before: text(c, "before"),
            limit: number(c, "limit"),
        }),
        call: verb("call").map(|c| Call {
            service: text(c, "service").unwrap_or_default(),
            method: text(c, "method"),
            body: body(c),
            // Where the body is JSON, as in the JSON dialect.
            content_type: text(c, "content_type").unwrap_or_else(|| match c.get("body_base64") {
                Some(_) => String::new(),
                None => "application/json".to_owned(),
            }),
        }),
        refresh: verb("refresh").map(|c| Refresh {
            token: text(c, "token").unwrap_or_default(),
        }),
        ping: verb("ping").map(|_| Ping {}),
    };
    frame.encode_to_vec()
}

fn send(command: &Value) -> Send {
    let to = &command["to"];
    Send {
        to: Some(Target {
            user: text(to, "user"),
            group: text(to, "group"),
            all: to["all"].as_bool(),
        }),
        body: body(command),
        content_type: text(command, "content_type").unwrap_or_default(),
        kind: text(command, "kind"),
        durable: command["durable"].as_bool(),
        key: text(command, "key"),
        ttl: number(command, "ttl"),
        copy: command["copy"].as_bool(),
    }
}

fn text(of: &Value, name: &str) -> Option<String> {
    of[name].as_str().map(str::to_owned)
}

fn texts(of: &Value, name: &str) -> Vec<String> {
    let list = of[name].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn number(of: &Value, name: &str) -> Option<u32> {
    of[name].as_u64().map(|n| u32::try_from(n).expect("32 bits"))
}

fn body(command: &Value) -> Bytes {
    match command["body_base64"].as_str() {
        Some(base64) => STANDARD.decode(base64).expect("base64").into(),
        None => command["body"].to_string().into(),
    }
}

/// A ServerFrame as the JSON dialect would write it.
pub fn decode(bytes: &[u8]) -> Value {
    let frame = ServerFrame::decode(bytes).expect("a ServerFrame");
    let (name, value) = match frame.frame.expect("a frame that this contract knows") {
        Frame::Connected(c) => (
            "connected",
            json!({"user": c.user, "connection": c.connection, "node": c.node, "groups": c.groups, "cursor": c.cursor,
                "resumed": c.resumed, "gap": c.gap, "ping": c.ping, "expires": c.expires, "time": c.time}),
        ),
        Frame::Sent(s) => (
            "sent",
            json!({"id": Some(s.id).filter(|id| !id.is_empty()), "offset": s.offset, "online": s.online,
                "duplicate": s.duplicate, "time": Some(s.time).filter(|time| *time > 0)}),
        ),
        Frame::Joined(j) => ("joined", json!({"group": j.group})),
        Frame::Left(l) => ("left", json!({"group": l.group})),
        Frame::Presence(p) => (
            "presence",
            json!({"users": users(p.users), "online": p.online, "members": p.members}),
        ),
        Frame::Watching(w) => ("watching", json!({"users": users(w.users)})),
        Frame::History(h) => {
            let messages: Vec<Value> = h.messages.into_iter().map(message).collect();
            ("history", json!({"messages": messages, "more": h.more, "gap": h.gap}))
        }
        Frame::Result(r) => ("result", with_body(Map::new(), &r.body, &r.content_type)),
        Frame::Refreshed(r) => ("refreshed", json!({"expires": r.expires})),
        Frame::Pong(_) => ("pong", json!({})),
        Frame::Error(e) => (
            "error",
            json!({"code": e.code, "message": e.message, "retry": e.retry, "after_ms": e.after_ms}),
        ),
        Frame::Message(m) => ("message", message(m)),
        Frame::PresenceChange(p) => (
            "presence",
            json!({"user": p.user, "online": p.online, "since": p.since}),
        ),
        Frame::Group(g) => ("group", json!({"group": g.group, "joined": g.joined})),
        Frame::Cursor(c) => ("cursor", json!(c)),
        Frame::Notice(n) => (
            "notice",
            json!({"code": n.code, "message": n.message, "after_ms": n.after_ms}),
        ),
    };
    let mut fields = Map::new();
    if frame.id != 0 {
        fields.insert("id".into(), frame.id.into());
    }
    fields.insert(name.into(), without_nulls(value));
    fields.into()
}

fn message(m: Message) -> Value {
    let to = m.to.expect("a target");
    let to = json!({"user": to.user, "group": to.group, "all": to.all});
    let fields = json!({"id": m.id, "from": m.from, "to": without_nulls(to), "kind": m.kind, "time": m.time,
        "offset": m.offset});
    let Value::Object(fields) = without_nulls(fields) else {
        unreachable!("built as an object")
    };
    with_body(fields, &m.body, &m.content_type)
}

fn with_body(mut fields: Map<String, Value>, body: &Bytes, content_type: &str) -> Value {
    if content_type.is_empty() || content_type == "application/json" {
        let value = serde_json::from_slice(body).expect("a JSON body");
        fields.insert("body".into(), value);
    } else {
        fields.insert("body_base64".into(), STANDARD.encode(body).into());
        fields.insert("content_type".into(), content_type.into());
    }
    fields.into()
}

/// An optional field that is not set is not there. A body may be null, so it is never asked.
fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| name == "body" || !value.is_null());
    }
    value
}

fn users(users: std::collections::HashMap<String, UserPresence>) -> Value {
    let entry = |(user, p): (String, UserPresence)| {
        let fields = json!({"online": p.online, "connections": p.connections, "since": p.since,
            "last_seen": p.last_seen});
        (user, without_nulls(fields))
    };
    Value::Object(users.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_presence_become_their_exact_bytes() {
        for (command, bytes) in [
            (
                json!({"id": 4, "presence": {"users": ["bob"]}}),
                &b"\x08\x04\x32\x05\x0a\x03bob"[..],
            ),
            (
                json!({"id": 4, "presence": {"group": "g1"}}),
                b"\x08\x04\x32\x04\x12\x02g1",
            ),
            (
                json!({"id": 5, "watch": {"users": ["bob"]}}),
                b"\x08\x05\x3a\x05\x0a\x03bob",
            ),
            (
                json!({"id": 5, "unwatch": {"users": ["bob"]}}),
                b"\x08\x05\x42\x05\x0a\x03bob",
            ),
        ] {
            assert_eq!(encode(&command), bytes, "{command}");
        }
    }

    /// The bytes and texts are those of the gateway's own golden tests.
    #[test]
    fn frames_of_presence_read_as_the_json_dialect_writes_them() {
        for (bytes, frame) in [
            (
                &b"\x08\x04\x32\x0f\x0a\x0d\x0a\x03bob\x12\x06\x08\x01\x10\x02\x18\x07"[..],
                json!({"id": 4, "presence": {"users": {"bob": {"online": true, "connections": 2, "since": 7}}}}),
            ),
            (
                b"\x08\x04\x32\x0e\x0a\x0c\x0a\x03a\"\\\x12\x05\x10\x00\x20\xac\x02",
                json!({"id": 4, "presence": {"users": {"a\"\\": {"online": false, "connections": 0, "last_seen": 300}}}}),
            ),
            (
                b"\x08\x04\x32\x04\x10\x00\x18\x28",
                json!({"id": 4, "presence": {"users": {}, "online": 0, "members": 40}}),
            ),
            (
                b"\x08\x05\x3a\x0b\x0a\x09\x0a\x03bob\x12\x02\x08\x01",
                json!({"id": 5, "watching": {"users": {"bob": {"online": true}}}}),
            ),
            (
                b"\x72\x08\x0a\x03bob\x18\xac\x02",
                json!({"presence": {"user": "bob", "online": false, "since": 300}}),
            ),
        ] {
            assert_eq!(decode(bytes), frame);
        }
    }
}
