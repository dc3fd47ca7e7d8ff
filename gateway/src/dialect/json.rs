//! The native JSON dialect, subprotocol `herald.v1.json`: text frames, one object each.

use std::borrow::Cow;

use bytes::Bytes;
use herald_proto::Target;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{
    body::{self, InJson},
    object::Object,
    ws::Builder,
};
use crate::event::{
    Answer, BadFrame, Command, Connect, ConnectOptions, History, HistoryOf, HistoryQuery, Inbound, Message, Push, Send,
};

mod presence;

// --- in ---

#[derive(Deserialize)]
struct Frame<'a> {
    id: Option<u32>,
    connect: Option<Object<ConnectVerb>>,
    #[serde(borrow)]
    send: Option<Object<SendVerb<'a>>>,
    join: Option<Object<GroupVerb>>,
    leave: Option<Object<GroupVerb>>,
    refresh: Option<Object<RefreshVerb>>,
    ping: Option<Object<Empty>>,
    presence: Option<Object<presence::PresenceVerb>>,
    watch: Option<Object<presence::UsersVerb>>,
    unwatch: Option<Object<presence::UsersVerb>>,
    history: Option<Object<HistoryVerb>>,
    call: Option<Object<Empty>>,
}

#[derive(Deserialize)]
struct Empty {}

#[derive(Deserialize)]
struct ConnectVerb {
    token: String,
    cursor: Option<String>,
    since: Option<String>,
    device: Option<String>,
}

#[derive(Deserialize)]
struct SendVerb<'a> {
    to: Object<To>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    kind: Option<String>,
    durable: Option<bool>,
    key: Option<String>,
    ttl: Option<u32>,
    copy: Option<bool>,
}

/// Exactly one of the three.
#[derive(Debug, Default, Deserialize)]
pub struct To {
    user: Option<String>,
    group: Option<String>,
    all: Option<bool>,
}

#[derive(Deserialize)]
struct GroupVerb {
    group: String,
}

#[derive(Deserialize)]
struct HistoryVerb {
    of: Object<Of>,
    after: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
struct Of {
    user: Option<bool>,
    group: Option<String>,
    all: Option<bool>,
}

#[derive(Deserialize)]
struct RefreshVerb {
    token: String,
}

impl To {
    pub fn target(self) -> Result<Target, &'static str> {
        match (self.user, self.group, self.all) {
            (Some(user), None, None | Some(false)) => Ok(Target::user(user)),
            (None, Some(group), None | Some(false)) => Ok(Target::group(group)),
            (None, None, Some(true)) => Ok(Target::All),
            _ => Err("\"to\" must name exactly one of user, group, \"all\":true"),
        }
    }
}

pub(super) fn decode(payload: &[u8]) -> Result<Inbound, BadFrame> {
    let Object(frame): Object<Frame<'_>> =
        serde_json::from_slice(payload).map_err(|e| BadFrame::new(id_of(payload), shorten(&e.to_string())))?;
    let id = frame.id;
    if id == Some(0) {
        return Err(BadFrame::new(None, "id must be 1 to 4294967295"));
    }
    command(frame)
        .map(|command| Inbound { id, command })
        .map_err(|message| BadFrame::new(id, message))
}

/// The id of a frame that is otherwise no command, so that its sender can tell which one failed.
fn id_of(payload: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Id {
        id: u32,
    }
    let Object(Id { id }) = serde_json::from_slice(payload).ok()?;
    (id > 0).then_some(id)
}

/// The parser's messages may quote the input at length.
fn shorten(message: &str) -> String {
    message.chars().take(200).collect()
}

fn command(frame: Frame<'_>) -> Result<Command, String> {
    let mut verbs = Vec::with_capacity(1);
    if let Some(Object(verb)) = frame.connect {
        verbs.push(Command::Connect(Connect {
            token: verb.token,
            options: ConnectOptions {
                cursor: verb.cursor,
                since: verb.since,
                device: verb.device,
            },
        }));
    }
    if let Some(Object(verb)) = frame.send {
        verbs.push(send(verb).map_or_else(Command::Faulty, |send| Command::Send(Box::new(send))));
    }
    if let Some(Object(GroupVerb { group })) = frame.join {
        verbs.push(Command::Join { group });
    }
    if let Some(Object(GroupVerb { group })) = frame.leave {
        verbs.push(Command::Leave { group });
    }
    if let Some(Object(RefreshVerb { token })) = frame.refresh {
        verbs.push(Command::Refresh { token });
    }
    if frame.ping.is_some() {
        verbs.push(Command::Ping);
    }
    if let Some(Object(verb)) = frame.history {
        verbs.push(history(verb).map_or_else(|why| Command::Faulty(why.to_owned()), Command::History));
    }
    verbs.extend(frame.presence.map(|Object(verb)| presence::query(verb)));
    verbs.extend(frame.watch.map(|Object(verb)| presence::watch(verb)));
    verbs.extend(frame.unwatch.map(|Object(verb)| presence::unwatch(verb)));
    verbs.extend(frame.call.map(|Object(Empty {})| Command::Unserved("call")));
    if verbs.len() > 1 {
        return Err("two verbs in one frame".to_owned());
    }
    verbs.pop().ok_or_else(|| "no known verb".to_owned())
}

fn send(verb: SendVerb<'_>) -> Result<Send, String> {
    let to = verb.to.0.target()?;
    let raw = verb.body.unwrap_or(RawValue::NULL);
    let send = Send {
        to,
        body: body::from_json(raw).map_err(|e| e.to_string())?,
        kind: verb.kind,
        durable: verb.durable.unwrap_or(true),
        key: verb.key,
        ttl: verb.ttl.unwrap_or(0),
        copy: verb.copy.unwrap_or(false),
    };
    send.check().map_err(|e| e.to_string())?;
    Ok(send)
}

fn history(verb: HistoryVerb) -> Result<HistoryQuery, &'static str> {
    let Object(of) = verb.of;
    let query = HistoryQuery {
        of: HistoryOf::new(of.user, of.group, of.all)?,
        after: verb.after,
        before: verb.before,
        limit: verb.limit,
    };
    query.check()
}

// --- out ---

#[derive(Serialize)]
struct ConnectedOut<'a> {
    user: &'a str,
    connection: &'a str,
    node: &'a str,
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    resumed: bool,
    gap: bool,
    ping: u32,
    expires: u64,
    time: u64,
}

#[derive(Serialize)]
struct SentOut<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    duplicate: bool,
    time: u64,
}

#[derive(Serialize)]
struct GroupOut<'a> {
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<bool>,
}

#[derive(Serialize)]
struct NoticeOut<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct RefreshedOut {
    expires: u64,
}

#[derive(Serialize)]
struct ErrorOut<'a> {
    code: &'a str,
    message: &'a str,
    retry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(serialize_with = "to")]
    to: &'a Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
}

#[derive(Serialize)]
struct HistoryOut<'a> {
    messages: Vec<MessageOut<'a>>,
    more: bool,
    gap: bool,
}

fn to<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    match target {
        Target::User(user) => map.serialize_entry("user", user)?,
        Target::Group(group) => map.serialize_entry("group", group)?,
        Target::All => map.serialize_entry("all", &true)?,
    }
    map.end()
}

/// `{"id":…,"<verb>":<value>}`; the id stands first where there is one.
fn frame(id: Option<u32>, verb: &str, value: &impl Serialize, expected: usize) -> Bytes {
    struct Out<'a, T> {
        id: Option<u32>,
        verb: &'a str,
        value: &'a T,
    }
    impl<T: Serialize> Serialize for Out<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            if let Some(id) = self.id {
                map.serialize_entry("id", &id)?;
            }
            map.serialize_entry(self.verb, self.value)?;
            map.end()
        }
    }
    let mut builder = Builder::new(expected);
    let written = serde_json::to_writer(builder.payload(), &Out { id, verb, value });
    debug_assert!(written.is_ok(), "writing to memory, with string keys only, cannot fail");
    builder.text()
}

pub(super) fn answer(id: Option<u32>, answer: &Answer) -> Bytes {
    match answer {
        Answer::Connected(c) => {
            let out = ConnectedOut {
                user: &c.user,
                connection: &c.connection,
                node: &c.node,
                groups: &c.groups,
                cursor: c.cursor.as_deref(),
                resumed: c.resumed,
                gap: c.gap,
                ping: c.ping,
                expires: c.expires,
                time: c.time,
            };
            frame(id, "connected", &out, 256)
        }
        Answer::Sent(s) => {
            let out = SentOut {
                id: &s.id,
                offset: s.offset.as_deref(),
                online: s.online,
                duplicate: s.duplicate,
                time: s.time,
            };
            frame(id, "sent", &out, 192)
        }
        Answer::Joined { group } => frame(id, "joined", &GroupOut { group, joined: None }, 64),
        Answer::Left { group } => frame(id, "left", &GroupOut { group, joined: None }, 64),
        Answer::Refreshed { expires } => frame(id, "refreshed", &RefreshedOut { expires: *expires }, 64),
        Answer::History(history) => history_out(id, history),
        Answer::Presence(presence) => {
            let out = presence::presence(presence);
            frame(id, "presence", &out, out.expected())
        }
        Answer::Watching(users) => {
            let out = presence::watching(users);
            frame(id, "watching", &out, out.expected())
        }
        Answer::Pong => frame(id, "pong", &serde_json::Map::new(), 32),
        Answer::Error(e) => {
            let out = ErrorOut {
                code: e.code.as_str(),
                message: &e.message,
                retry: e.code.retry(),
                after_ms: e.after_ms,
            };
            frame(id, "error", &out, 128)
        }
    }
}

pub(super) fn push(push: &Push) -> Bytes {
    match push {
        Push::Message(message) => self::message(message),
        Push::Group { group, joined } => {
            let joined = Some(*joined);
            frame(None, "group", &GroupOut { group, joined }, 64)
        }
        Push::Presence { user, online, since } => {
            let (online, since) = (*online, *since);
            frame(None, "presence", &presence::ChangeOut { user, online, since }, 224)
        }
        Push::Cursor(cursor) => frame(None, "cursor", cursor, 64),
        Push::Notice { code, message } => frame(None, "notice", &NoticeOut { code, message }, 128),
    }
}

/// Room for a message's frame, or for its part of one.
fn expected(message: &Message) -> usize {
    message.body.bytes.len() * 4 / 3 + 384
}

fn message(message: &Message) -> Bytes {
    frame(None, "message", &message_out(message), expected(message))
}

fn history_out(id: Option<u32>, history: &History) -> Bytes {
    let out = HistoryOut {
        messages: history.messages.iter().map(message_out).collect(),
        more: history.more,
        gap: history.gap,
    };
    let expected: usize = history.messages.iter().map(expected).sum();
    frame(id, "history", &out, expected + 64)
}

fn message_out(message: &Message) -> MessageOut<'_> {
    let (body, body_base64, content_type) = match message.body.in_json() {
        InJson::Plain(raw) => (Some(raw), None, None),
        InJson::Base64(text) => (None, Some(text), Some(message.body.content_type())),
    };
    MessageOut {
        id: &message.id,
        from: message.from.as_deref(),
        to: &message.to,
        kind: message.kind.as_deref(),
        body,
        body_base64,
        content_type,
        time: message.time,
        offset: message.offset.as_deref(),
    }
}
