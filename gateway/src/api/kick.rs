//! `DELETE /api/v1/users/{uid}/connections`: a user's connections are closed, and the tokens revoked that it could come
//! back with.

use std::borrow::Cow;

use herald_proto::{ErrorCode, Target, cluster::KickCommand, dedup, id};
use herald_router::failure::Failure;

use crate::gateway::Gateway;

pub(super) async fn delete(gateway: &Gateway, user: String, query: &str, api_key: &str) -> Result<(), Failure> {
    id::check("user", &user)?;
    let origin = dedup::Origin::Api {
        name: api_key,
        // Only this gateway's own retry is to be recognised.
        key: &id::message_id(),
    };
    let command = KickCommand {
        revoke: revokes(query)?,
        time: id::now_ms(),
        dedup: dedup::id(origin, &Target::user(user.as_str())),
        user,
    };
    gateway.routers.kick(&command).await
}

fn revokes(query: &str) -> Result<bool, Failure> {
    let mut revoke = true;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (Cow::as_ref(&name), Cow::as_ref(&value)) {
            ("revoke", "true") => revoke = true,
            ("revoke", "false") => revoke = false,
            ("revoke", _) => return Err(Failure::bad_request("revoke must be true or false")),
            ("session", _) => {
                let message = "this version has no sessions yet";
                return Err(Failure::new(ErrorCode::Unsupported, message));
            }
            _ => {}
        }
    }
    Ok(revoke)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_revoked_unless_said_otherwise() {
        assert!(revokes("").unwrap() && revokes("revoke=true").unwrap());
        assert!(!revokes("revoke=false").unwrap());
        assert!(revokes("revoke=no").is_err() && revokes("session=1").is_err());
    }
}
