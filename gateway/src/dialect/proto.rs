//! The native protobuf dialect, subprotocol `herald.v1.proto`: binary frames, one `ClientFrame` or `ServerFrame` each.

use std::collections::HashMap;

use bytes::Bytes;
use herald_proto::{
    Target,
    client::{self as pb, server_frame::Frame},
};
use prost::Message as _;

use super::{body, ws::Builder};
use crate::event::{
    Answer, BadFrame, Call, Command, Connect, ConnectOptions, HistoryOf, HistoryQuery, Inbound, JSON, Message, OCTETS,
    PresenceQuery, Push, Send, UserPresence, checked_users,
};

pub(super) fn decode(payload: Bytes) -> Result<Inbound, BadFrame> {
    let frame = pb::ClientFrame::decode(payload).map_err(|e| BadFrame::new(None, e.to_string()))?;
    let id = (frame.id != 0).then_some(frame.id);
    command(frame)
        .map(|command| Inbound {
            tag: id.into(),
            command,
        })
        .map_err(|message| BadFrame::new(id, message))
}

fn command(frame: pb::ClientFrame) -> Result<Command, String> {
    let mut verbs = Vec::with_capacity(1);
    if let Some(verb) = frame.connect {
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
    if let Some(verb) = frame.send {
        verbs.push(send(verb).map_or_else(Command::Faulty, |send| Command::Send(Box::new(send))));
    }
    if let Some(pb::Join { group }) = frame.join {
        verbs.push(Command::Join { group });
    }
    if let Some(pb::Leave { group }) = frame.leave {
        verbs.push(Command::Leave { group });
    }
    if let Some(pb::Refresh { token }) = frame.refresh {
        verbs.push(Command::Refresh { token });
    }
    verbs.extend(frame.ping.map(|pb::Ping {}| Command::Ping));
    if let Some(pb::PresenceQuery { users, group }) = frame.presence {
        // A list without entries is not on the wire at all.
        let users = (!users.is_empty()).then_some(users);
        verbs.push(PresenceQuery::new(users, group).map_or_else(Command::Faulty, Command::Presence));
    }
    if let Some(pb::Watch { users }) = frame.watch {
        verbs.push(checked_users(users).map_or_else(Command::Faulty, |users| Command::Watch { users }));
    }
    if let Some(pb::Watch { users }) = frame.unwatch {
        verbs.push(checked_users(users).map_or_else(Command::Faulty, |users| Command::Unwatch { users }));
    }
    if let Some(verb) = frame.history {
        verbs.push(history(verb).map_or_else(|why| Command::Faulty(why.to_owned()), Command::History));
    }
    if let Some(verb) = frame.call {
        verbs.push(call(verb).map_or_else(Command::Faulty, |call| Command::Call(Box::new(call))));
    }
    if verbs.len() > 1 {
        return Err("two verbs in one frame".to_owned());
    }
    verbs.pop().ok_or_else(|| "no known verb".to_owned())
}

fn send(verb: pb::Send) -> Result<Send, String> {
    let to = target(verb.to.unwrap_or_default())?;
    // An empty body of the default type is the JSON dialect's missing body.
    let bytes = if verb.body.is_empty() && verb.content_type.is_empty() {
        Bytes::from_static(b"null")
    } else {
        verb.body
    };
    let send = Send {
        to,
        body: body::from_bytes(bytes, verb.content_type).map_err(|e| e.to_string())?,
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

fn call(verb: pb::Call) -> Result<Call, String> {
    let is_json = body::claims_json(&verb.content_type);
    if is_json {
        body::from_bytes(verb.body.clone(), String::new()).map_err(|e| e.to_string())?;
    }
    let call = Call {
        service: verb.service,
        method: verb.method,
        body: verb.body,
        content_type: if is_json { JSON } else { OCTETS },
    };
    call.check().map_err(str::to_owned)
}

fn history(verb: pb::HistoryQuery) -> Result<HistoryQuery, &'static str> {
    let query = HistoryQuery {
        of: HistoryOf::new(verb.user, verb.group, verb.all)?,
        after: verb.after,
        before: verb.before,
        limit: verb.limit,
    };
    query.check()
}

fn target(to: pb::Target) -> Result<Target, &'static str> {
    match (to.user, to.group, to.all) {
        (Some(user), None, None | Some(false)) => Ok(Target::user(user)),
        (None, Some(group), None | Some(false)) => Ok(Target::group(group)),
        (None, None, Some(true)) => Ok(Target::All),
        _ => Err("\"to\" must name exactly one of user, group, all"),
    }
}

fn frame(id: Option<u32>, frame: Frame) -> Bytes {
    let frame = pb::ServerFrame {
        id: id.unwrap_or(0),
        frame: Some(frame),
    };
    let mut builder = Builder::new(frame.encoded_len());
    frame.encode_raw(builder.payload());
    builder.binary()
}

pub(super) fn answer(id: Option<u32>, answer: &Answer) -> Bytes {
    let answer = match answer {
        Answer::Connected(c) => Frame::Connected(pb::Connected {
            user: c.user.clone(),
            connection: c.connection.clone(),
            node: c.node.clone(),
            groups: c.groups.clone(),
            cursor: c.cursor.clone(),
            resumed: c.resumed,
            gap: c.gap,
            ping: c.ping,
            expires: c.expires,
            time: c.time,
        }),
        Answer::Sent(s) => Frame::Sent(pb::Sent {
            id: s.id.clone().unwrap_or_default(),
            offset: s.offset.clone(),
            online: s.online,
            duplicate: s.duplicate,
            time: s.time.unwrap_or_default(),
        }),
        Answer::Joined { group } => Frame::Joined(pb::Joined { group: group.clone() }),
        Answer::Left { group } => Frame::Left(pb::Left { group: group.clone() }),
        Answer::Refreshed { expires } => Frame::Refreshed(pb::Refreshed { expires: *expires }),
        Answer::History(history) => Frame::History(pb::History {
            messages: history.messages.iter().map(message).collect(),
            more: history.more,
            gap: history.gap,
        }),
        Answer::Presence(presence) => Frame::Presence(pb::Presence {
            users: by_name(&presence.users),
            online: presence.online,
            members: presence.members,
        }),
        Answer::Watching(users) => Frame::Watching(pb::Watching { users: by_name(users) }),
        Answer::Result(body) => Frame::Result(pb::Result {
            body: body.bytes.clone(),
            content_type: body.content_type().into_owned(),
        }),
        Answer::Pong => Frame::Pong(pb::Pong {}),
        // Nothing asks for it here.
        Answer::Echo { .. } => return Bytes::new(),
        Answer::Error(e) => Frame::Error(pb::Error {
            code: e.code.as_str().to_owned(),
            message: e.message.clone(),
            retry: e.code.retry(),
            after_ms: e.after_ms,
        }),
    };
    frame(id, answer)
}

pub(super) fn push(push: &Push) -> Bytes {
    frame(
        None,
        match push {
            Push::Message(message) => Frame::Message(self::message(message)),
            Push::Group { group, joined } => Frame::Group(pb::GroupChange {
                group: group.clone(),
                joined: *joined,
            }),
            Push::Presence { user, online, since } => Frame::PresenceChange(pb::PresenceChange {
                user: user.clone(),
                online: *online,
                since: *since,
            }),
            Push::Cursor(cursor) => Frame::Cursor(cursor.clone()),
            Push::Notice { code, message } => Frame::Notice(pb::Notice {
                code: (*code).to_owned(),
                message: (*message).to_owned(),
                after_ms: None,
            }),
        },
    )
}

fn by_name(users: &[(String, UserPresence)]) -> HashMap<String, pb::UserPresence> {
    let entry = |(user, presence): &(String, UserPresence)| {
        let presence = pb::UserPresence {
            online: presence.online,
            connections: presence.connections,
            since: presence.since,
            last_seen: presence.last_seen,
        };
        (user.clone(), presence)
    };
    users.iter().map(entry).collect()
}

fn message(message: &Message) -> pb::Message {
    let mut to = pb::Target::default();
    match &message.to {
        Target::User(user) => to.user = Some(user.to_string()),
        Target::Group(group) => to.group = Some(group.to_string()),
        Target::All => to.all = Some(true),
    }
    pb::Message {
        id: message.id.clone(),
        from: message.from.clone(),
        to: Some(to),
        kind: message.kind.clone(),
        body: message.body.bytes.clone(),
        content_type: message.body.content_type().into_owned(),
        time: message.time,
        offset: message.offset.clone(),
    }
}
