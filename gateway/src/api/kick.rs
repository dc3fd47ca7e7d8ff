//! `DELETE /api/v1/users/{uid}/connections`: a user's connections are closed, its sessions end, and the tokens are
//! revoked that it could come back with. `?session=`: that session ends, and its connections.

use herald_proto::{Target, cluster::KickCommand, dedup, id};
use herald_router::failure::Failure;
use hyper::Method;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::sessions::Why;

use super::{
    call::{Asked, Call, Done, NoBody, fresh_key},
    schema::Id,
};

pub(super) struct Delete;

impl Call for Delete {
    const ID: &'static str = "kick";
    const RIGHT: &'static str = "kick";
    const METHOD: Method = Method::DELETE;
    const PATH: &'static str = "/api/v1/users/{uid}/connections";
    const SUMMARY: &'static str = "Kicks a user";
    const ABOUT: &'static str = "Closes all connections of the user, on every node, ends its sessions, and revokes the \
                                 tokens that were issued until now.";
    type Query = How;
    type Body = NoBody;
    type Answer = Done;

    async fn run(asked: Asked<'_, Self>) -> Result<Done, Failure> {
        let (gateway, user) = (asked.gateway, asked.ids.user());
        let revoke = asked.query.revoke.unwrap_or(true);
        if let Some(session) = asked.query.session {
            if !revoke {
                return Err(Failure::bad_request(
                    "a session ends, or does not: revoke=false goes without session",
                ));
            }
            id::check("session", &session)?;
            gateway
                .sessions
                .end(&gateway.routers, user, &session, Why::Kick)
                .await?;
            return Ok(Done {});
        }
        let origin = dedup::Origin::Api {
            name: asked.key,
            key: &fresh_key(),
        };
        let command = KickCommand {
            revoke,
            time: id::now_ms(),
            dedup: dedup::id(origin, &Target::user(user)),
            user: user.to_owned(),
        };
        gateway.routers.kick(&command).await?;
        Ok(Done {})
    }
}

#[derive(Deserialize, IntoParams)]
pub(super) struct How {
    /// False: the connections are closed, and may come back at once. True unless said; not together with `session`.
    #[param(value_type = bool, required = false)]
    revoke: Option<bool>,
    /// This session alone, and its connections.
    #[param(value_type = Id, required = false)]
    session: Option<String>,
}
