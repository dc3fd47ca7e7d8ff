//! `POST /api/v1/presence`: who is online.

use std::collections::BTreeMap;

use herald_proto::cluster::{self, PresenceCommand, Sender};
use herald_router::failure::Failure;
use hyper::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    call::{Asked, Call, Json, NoQuery},
    schema::Id,
};
use crate::event::checked_users;

pub(super) struct Post;

impl Call for Post {
    const ID: &'static str = "presence";
    const RIGHT: &'static str = "presence";
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/api/v1/presence";
    const SUMMARY: &'static str = "Tells who of up to 1,000 users is online";
    type Query = NoQuery;
    type Body = Json<Question>;
    type Answer = Presence;

    async fn run(asked: Asked<'_, Self>) -> Result<Presence, Failure> {
        let command = PresenceCommand {
            // The application sees everybody.
            sender: Some(Sender::default()),
            users: checked_users(asked.body.0.users).map_err(Failure::bad_request)?,
            group: None,
        };
        let presence = asked.gateway.routers.presence(&command).await?;
        let users = presence.users.into_iter().map(|user| (user.user.clone(), user.into()));
        Ok(Presence { users: users.collect() })
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = PresenceQuestion)]
pub(super) struct Question {
    #[schema(value_type = Vec<Id>, min_items = 1, max_items = 1000)]
    users: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Presence {
    /// Each user once.
    users: BTreeMap<String, UserPresence>,
}

#[derive(Serialize, ToSchema)]
struct UserPresence {
    online: bool,
    /// 0 for one who is online by a session over HTTP only.
    connections: u32,
    /// Since when one who is online is; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// When one who is offline was there last, if that is known; Unix milliseconds.
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

/// A time that is known.
pub(super) fn some(time: u64) -> Option<u64> {
    (time > 0).then_some(time)
}
