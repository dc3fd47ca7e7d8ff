//! `POST /logout`: the session ends, on every node, and its connections with it.

use herald_router::http::{self, Body, Incoming};
use hyper::{Request, Response, StatusCode};

use super::{Refusal, cookie, refresh};
use crate::{auth::source, gateway::Gateway, sessions::Why};

/// Browser pages cannot read the cookie, so here it counts as well; whose page it is has been checked.
pub(super) async fn serve(gateway: &Gateway, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let headers = request.headers();
    let token = source::authorization(headers).or_else(|| source::cookie(headers));
    let token = token.ok_or_else(|| Refusal::bad_request("Authorization header is required"))?;
    let (identity, claim) = refresh::late(gateway, token)?;
    let ended = gateway
        .sessions
        .end(&gateway.routers, &identity.user, &claim.id, Why::Logout);
    ended.await?;
    let mut response = http::text(StatusCode::OK, "logout success");
    cookie::clear(response.headers_mut(), gateway.login.secure_cookie);
    Ok(response)
}
