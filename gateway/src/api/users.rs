//! `GET /api/v1/users`: who is online. `GET /api/v1/users/{uid}`: all that is known of one.

use herald_proto::{
    ErrorCode,
    cluster::{PageCommand, UserCommand, UserConnection},
};
use herald_router::failure::Failure;
use hyper::Method;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    call::{Asked, Call, NoBody, NoQuery},
    presence::some,
    schema::{Id, Limit, True, page_after, page_limit},
};

pub(super) struct List;

impl Call for List {
    const ID: &'static str = "list_users";
    const RIGHT: &'static str = "users";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/users";
    const SUMMARY: &'static str = "Lists the users who are online, by name";
    type Query = Which;
    type Body = NoBody;
    type Answer = Users;

    async fn run(asked: Asked<'_, Self>) -> Result<Users, Failure> {
        if asked.query.online == Some(false) {
            return Err(Failure::bad_request("those who are offline are not listed"));
        }
        let command = PageCommand {
            after: page_after(asked.query.after)?,
            limit: page_limit(asked.query.limit)?,
        };
        let page = asked.gateway.routers.users(&command).await?;
        let next = page.users.last().filter(|_| page.more).map(|last| last.user.clone());
        let users = page.users.into_iter().map(|user| OnlineUser {
            user: user.user,
            online: user.online,
            connections: user.connections,
            since: some(user.since),
        });
        Ok(Users {
            users: users.collect(),
            next,
        })
    }
}

#[derive(Deserialize, IntoParams)]
pub(super) struct Which {
    /// Only those who are online can be listed.
    #[param(value_type = True, required = false)]
    online: Option<bool>,
    /// The `next` of the page before.
    #[param(value_type = Id, required = false)]
    after: Option<String>,
    /// 100 unless said.
    #[param(value_type = Limit, required = false)]
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Users {
    users: Vec<OnlineUser>,
    /// Hand it in as `after` for the next page. Absent: that was all.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct OnlineUser {
    user: String,
    online: bool,
    /// 0 for one who is online by a session over HTTP only.
    connections: u32,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

pub(super) struct Get;

impl Call for Get {
    const ID: &'static str = "get_user";
    const RIGHT: &'static str = "user";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/users/{uid}";
    const SUMMARY: &'static str = "Tells a user's connections, sessions and groups";
    const ABOUT: &'static str = "One who is not known is offline.";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = User;

    async fn run(asked: Asked<'_, Self>) -> Result<User, Failure> {
        let (gateway, user) = (asked.gateway, asked.ids.user().to_owned());
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
        Ok(User {
            user,
            online: presence.online,
            connections: told.connections.into_iter().filter_map(Connection::of).collect(),
            sessions: sessions.collect(),
            groups: told.groups,
            last_seen: some(presence.last_seen),
        })
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct User {
    user: String,
    online: bool,
    connections: Vec<Connection>,
    sessions: Vec<Session>,
    groups: Vec<String>,
    /// Of one who is offline, if it is known; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct Connection {
    connection: String,
    node: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    device: String,
    address: String,
    dialect: String,
    /// Unix milliseconds.
    since: u64,
}

impl Connection {
    fn of(connection: UserConnection) -> Option<Self> {
        let info = connection.info?;
        Some(Self {
            connection: info.id,
            node: connection.node,
            device: info.device,
            address: info.address,
            dialect: info.dialect,
            since: info.since,
        })
    }
}

/// Over HTTP.
#[derive(Serialize, ToSchema)]
struct Session {
    session: String,
    account: String,
    /// Unix milliseconds.
    since: u64,
    /// Of its newest token; Unix seconds.
    expires: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    address: String,
}
