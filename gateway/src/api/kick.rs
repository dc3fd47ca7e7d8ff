//! `DELETE /api/v1/users/{uid}/connections`: a user's connections are closed, its sessions end, and the tokens are
//! revoked that it could come back with. `?session=`: that session ends, and its connections.

use herald_proto::{Target, cluster::KickCommand, dedup, id};
use herald_router::failure::Failure;

use crate::{gateway::Gateway, sessions::Why};

pub(super) async fn delete(gateway: &Gateway, user: String, query: &str, api_key: &str) -> Result<(), Failure> {
    id::check("user", &user)?;
    let origin = dedup::Origin::Api {
        name: api_key,
        // Only this gateway's own retry is to be recognised.
        key: &id::message_id(),
    };
    let asked = Asked::parse(query)?;
    if let Some(session) = asked.session {
        id::check("session", &session)?;
        return gateway.sessions.end(&gateway.routers, &user, &session, Why::Kick).await;
    }
    let command = KickCommand {
        revoke: asked.revoke,
        time: id::now_ms(),
        dedup: dedup::id(origin, &Target::user(user.as_str())),
        user,
    };
    gateway.routers.kick(&command).await
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    revoke: bool,
    session: Option<String>,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Failure> {
        let mut asked = Self {
            revoke: true,
            session: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("revoke", "true") => asked.revoke = true,
                ("revoke", "false") => asked.revoke = false,
                ("revoke", _) => return Err(Failure::bad_request("revoke must be true or false")),
                ("session", session) => asked.session = Some(session.to_owned()),
                _ => {}
            }
        }
        if asked.session.is_some() && !asked.revoke {
            return Err(Failure::bad_request(
                "a session ends, or does not: revoke=false goes without session",
            ));
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_revoked_unless_said_otherwise() {
        let revokes = |query: &str| Asked::parse(query).map(|asked| (asked.revoke, asked.session));
        assert_eq!(revokes(""), Ok((true, None)));
        assert_eq!(revokes("revoke=true"), Ok((true, None)));
        assert_eq!(revokes("revoke=false"), Ok((false, None)));
        assert_eq!(revokes("session=a%20b"), Ok((true, Some("a b".to_owned()))));
        assert!(revokes("revoke=no").is_err() && revokes("session=1&revoke=false").is_err());
    }
}
