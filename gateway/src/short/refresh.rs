//! `POST /refresh`: a new token for an old one, while the session stands.

use herald_router::http::{self, Body, Incoming};
use hyper::{Request, Response, StatusCode};

use super::{LOGIN_AGAIN, Refusal, cookie};
use crate::{
    auth::{Identity, SessionClaim, source},
    gateway::Gateway,
    login, metrics,
    sessions::{Refreshed, Why},
};

pub(super) async fn serve(gateway: &Gateway, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let token = source::authorization(request.headers());
    let token = token.ok_or_else(|| Refusal::bad_request("Authorization header is required"))?;
    let outcome = refresh(gateway, token).await;
    metrics::refresh(match &outcome {
        Ok(_) => "refreshed",
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => "refused",
        Err(_) => "failed",
    });
    let (token, expires) = outcome?;
    let mut response = http::text(StatusCode::OK, "refresh success");
    cookie::set(response.headers_mut(), &token, expires, gateway.login.secure_cookie);
    Ok(response)
}

async fn refresh(gateway: &Gateway, token: &str) -> Result<(String, u64), Refusal> {
    let (identity, claim) = late(gateway, token)?;
    let session = match gateway.sessions.refresh(&identity.user, &claim).await? {
        Refreshed::Goes(session) => session,
        Refreshed::Gone => return Err(Refusal::unauthorized(LOGIN_AGAIN)),
        Refreshed::Ends => {
            let ended = gateway
                .sessions
                .end(&gateway.routers, &identity.user, &claim.id, Why::Copied);
            ended.await?;
            return Err(Refusal::unauthorized(LOGIN_AGAIN));
        }
    };
    Ok(login::token(gateway, &identity.user, &claim.id, &session)?)
}

/// Who shows this token, which may have expired a short while ago. Tokens without a session are renewed by those who
/// minted them.
pub(super) fn late(gateway: &Gateway, token: &str) -> Result<(Identity, SessionClaim), Refusal> {
    let invalid = || Refusal::unauthorized("Invalid token");
    let identity = gateway.auth.verify_late(token, gateway.sessions.grace());
    let identity = identity.map_err(|_| invalid())?;
    // A logout is written into the user's log, however often it comes.
    gateway.callers.take(&identity.user).map_err(Refusal::too_often)?;
    if gateway.revoked.refuses(&identity.user, identity.issued) {
        return Err(Refusal::unauthorized(LOGIN_AGAIN));
    }
    let claim = identity.session.clone().ok_or_else(invalid)?;
    Ok((identity, claim))
}
