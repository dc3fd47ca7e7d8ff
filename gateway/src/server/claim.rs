//! Who a client of one of the articles is: told by a token, or by the id in its URL where that is believed.

use std::borrow::Cow;

use herald_proto::id;
use herald_router::http::{self, Body, Incoming};
use hyper::{Request, Response, StatusCode};

use super::upgrade::query;
use crate::{
    auth::{AuthError, source},
    conn::opening::Token,
    dialect::Dialect,
    gateway::Gateway,
    metrics,
    paths::Found,
    percent::Malformed,
};

/// Why it is told no, before the upgrade.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the id must be a number")]
    NoNumber,
    #[error("a user is needed: ?user=")]
    NoUser,
    #[error("no such id is possible")]
    NoId,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("a token is needed")]
    NoToken,
    #[error("the token is not valid")]
    BadToken,
    #[error("the token is another user's")]
    AnotherUser,
    #[error("sessions cannot be looked up")]
    Unavailable,
}

impl From<Refused> for Response<Body> {
    fn from(refused: Refused) -> Self {
        let (status, reason) = match refused {
            Refused::NoNumber | Refused::NoUser | Refused::NoId | Refused::Malformed(_) => {
                (StatusCode::BAD_REQUEST, "user")
            }
            Refused::NoToken | Refused::BadToken => (StatusCode::UNAUTHORIZED, "token"),
            Refused::AnotherUser => (StatusCode::FORBIDDEN, "token"),
            Refused::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "token"),
        };
        metrics::refused(reason);
        http::text(status, format!("{refused}\n"))
    }
}

pub(super) async fn token(gateway: &Gateway, request: &Request<Incoming>, found: Found) -> Result<Token, Refused> {
    let query = query(request)?;
    let claimed = claimed(&found, source::parameter(&query, "user"))?;
    let identity = match (source::find(request.headers(), &query), &claimed) {
        (Some(token), claimed) => {
            let identity = gateway.authenticate(&token).await.map_err(refused)?;
            if claimed.as_ref().is_some_and(|claimed| *claimed != identity.user) {
                return Err(Refused::AnotherUser);
            }
            identity
        }
        // The first frame tells.
        (None, _) if found.dialect.logs_in() => return Ok(Token::None),
        (None, Some(user)) => gateway.trust(found.dialect, user).map_err(refused)?,
        // Whoever has no name in its URL is somebody new each time.
        (None, None) => gateway
            .trust(found.dialect, &format!("anonymous-{:016x}", rand::random::<u64>()))
            .map_err(refused)?,
    };
    Ok(match found.dialect.logs_in() {
        true => Token::Shown(Box::new(identity)),
        false => Token::Good(Box::new(identity)),
    })
}

/// The user that the URL names.
fn claimed<'a>(found: &'a Found, parameter: Option<&'a str>) -> Result<Option<Cow<'a, str>>, Refused> {
    let claimed = match (found.dialect, &found.id, parameter) {
        // Leading zeros make nobody another user.
        (Dialect::WsId, Some(id), _) => {
            let id = id.as_ref().map_err(|malformed| *malformed)?;
            let digits = id.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = id.parse().ok().filter(|_| digits).ok_or(Refused::NoNumber)?;
            Some(Cow::Owned(number.to_string()))
        }
        (Dialect::Im, _, None | Some("")) => return Err(Refused::NoUser),
        (Dialect::Hub, ..) => None,
        (_, _, parameter) => parameter.filter(|user| !user.is_empty()).map(Cow::Borrowed),
    };
    if let Some(user) = &claimed {
        id::check("user", user).map_err(|_| Refused::NoId)?;
    }
    Ok(claimed)
}

fn refused(error: AuthError) -> Refused {
    match error {
        AuthError::Unavailable => Refused::Unavailable,
        AuthError::NoToken => Refused::NoToken,
        error => {
            tracing::debug!(%error, "a token was refused");
            Refused::BadToken
        }
    }
}
