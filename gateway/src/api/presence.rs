//! `POST /api/v1/presence` and `GET /api/v1/users/{uid}`: who is online, and where.

use std::collections::BTreeMap;

use herald_proto::{
    ErrorCode,
    cluster::{self, PresenceCommand, Sender, UserCommand},
    id,
};
use herald_router::failure::Failure;
use serde::{Deserialize, Serialize};

use crate::{dialect::object::Object, event::checked_users, gateway::Gateway};

#[derive(Deserialize)]
struct Question {
    users: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Presence {
    users: BTreeMap<String, UserPresence>,
}

#[derive(Serialize)]
struct UserPresence {
    online: bool,
    connections: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
}

impl From<cluster::UserPresence> for UserPresence {
    fn from(presence: cluster::UserPresence) -> Self {
        Self {
            online: presence.online,
            connections: presence.connections,
            since: some(presence.since),
            last_seen: some(presence.last_seen),
        }
    }
}

#[derive(Serialize)]
pub(super) struct User {
    user: String,
    online: bool,
    connections: Vec<Connection>,
    sessions: Vec<Session>,
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
}

#[derive(Serialize)]
struct Connection {
    connection: String,
    node: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    device: String,
    address: String,
    dialect: String,
    since: u64,
}

#[derive(Serialize)]
struct Session {
    session: String,
    account: String,
    since: u64,
    /// Of its newest token; Unix seconds.
    expires: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
}

fn some(time: u64) -> Option<u64> {
    (time > 0).then_some(time)
}

pub(super) async fn post(gateway: &Gateway, payload: &[u8]) -> Result<Presence, Failure> {
    let Object(question): Object<Question> =
        serde_json::from_slice(payload).map_err(|e| Failure::bad_request(e.to_string()))?;
    let command = PresenceCommand {
        // The application sees everybody.
        sender: Some(Sender::default()),
        users: checked_users(question.users).map_err(Failure::bad_request)?,
        group: None,
    };
    let presence = gateway.routers.presence(&command).await?;
    let users = presence.users.into_iter().map(|user| (user.user.clone(), user.into()));
    Ok(Presence { users: users.collect() })
}

pub(super) async fn get(gateway: &Gateway, user: String) -> Result<User, Failure> {
    id::check("user", &user)?;
    let command = UserCommand { user: user.clone() };
    let (told, sessions) = tokio::join!(gateway.routers.user(&command), gateway.sessions.of(&user));
    let (told, mut sessions) = (told?, sessions?);
    sessions.sort_unstable_by(|a, b| (a.1.started, &a.0).cmp(&(b.1.started, &b.0)));
    let sessions = sessions.into_iter().map(|(session, of)| Session {
        session,
        account: of.account,
        since: of.started,
        expires: of.expires / 1000,
        address: of.address,
    });
    let presence = told
        .presence
        .ok_or_else(|| Failure::new(ErrorCode::Internal, "a router gave half an answer"))?;
    let connections = told.connections.into_iter().filter_map(|connection| {
        let info = connection.info?;
        Some(Connection {
            connection: info.id,
            node: connection.node,
            device: info.device,
            address: info.address,
            dialect: info.dialect,
            since: info.since,
        })
    });
    Ok(User {
        user,
        online: presence.online,
        connections: connections.collect(),
        sessions: sessions.collect(),
        groups: told.groups,
        last_seen: some(presence.last_seen),
    })
}
