//! What clients send.

use herald_proto::Target;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::presence;
use crate::{
    dialect::{body, object::Object},
    event::{BadFrame, Call, Command, Connect, ConnectOptions, HistoryOf, HistoryQuery, Inbound, JSON, OCTETS, Send},
};

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
    #[serde(borrow)]
    call: Option<Object<CallVerb<'a>>>,
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
    body_base64: Option<String>,
    content_type: Option<String>,
    kind: Option<String>,
    durable: Option<bool>,
    key: Option<String>,
    ttl: Option<u32>,
    copy: Option<bool>,
}

/// Exactly one of the three.
#[derive(Debug, Default, Deserialize)]
struct To {
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
struct CallVerb<'a> {
    service: String,
    method: Option<String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    body_base64: Option<String>,
    content_type: Option<String>,
}

#[derive(Deserialize)]
struct RefreshVerb {
    token: String,
}

impl To {
    fn target(self) -> Result<Target, &'static str> {
        match (self.user, self.group, self.all) {
            (Some(user), None, None | Some(false)) => Ok(Target::user(user)),
            (None, Some(group), None | Some(false)) => Ok(Target::group(group)),
            (None, None, Some(true)) => Ok(Target::All),
            _ => Err("\"to\" must name exactly one of user, group, \"all\":true"),
        }
    }
}

pub(in crate::dialect) fn decode(payload: &[u8]) -> Result<Inbound, BadFrame> {
    let Object(frame): Object<Frame<'_>> =
        serde_json::from_slice(payload).map_err(|e| BadFrame::new(id_of(payload), shorten(&e.to_string())))?;
    let id = frame.id;
    if id == Some(0) {
        return Err(BadFrame::new(None, "id must be 1 to 4294967295"));
    }
    command(frame)
        .map(|command| Inbound {
            tag: id.into(),
            command,
        })
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
            user: None,
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
    if let Some(Object(verb)) = frame.call {
        verbs.push(call(verb).map_or_else(Command::Faulty, |call| Command::Call(Box::new(call))));
    }
    if verbs.len() > 1 {
        return Err("two verbs in one frame".to_owned());
    }
    verbs.pop().ok_or_else(|| "no known verb".to_owned())
}

fn send(verb: SendVerb<'_>) -> Result<Send, String> {
    let to = verb.to.0.target()?;
    let body = body::given(verb.body, verb.body_base64.as_deref(), verb.content_type);
    let send = Send {
        to,
        body: body.map_err(|e| e.to_string())?,
        original: None,
        kind: verb.kind,
        durable: verb.durable.unwrap_or(true),
        key: verb.key,
        ttl: verb.ttl.unwrap_or(0),
        copy: verb.copy.unwrap_or(false),
    };
    send.check().map_err(|e| e.to_string())?;
    Ok(send)
}

fn call(verb: CallVerb<'_>) -> Result<Call, String> {
    let body = body::given(verb.body, verb.body_base64.as_deref(), verb.content_type).map_err(|e| e.to_string())?;
    let call = Call {
        service: verb.service,
        method: verb.method,
        body: body.bytes,
        content_type: if body.content_type.is_empty() { JSON } else { OCTETS },
    };
    call.check().map_err(str::to_owned)
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
