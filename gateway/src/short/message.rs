//! `POST /message`: one message of the application's own to the service that its number is routed to, and the reply.

use std::net::IpAddr;

use herald_router::http::{self, Body, Incoming};
use hyper::{Request, Response, StatusCode};

use super::{LOGIN_AGAIN, NOT_AVAILABLE, Refusal, envelope::Envelope};
use crate::{
    auth::{AuthError, Identity, source},
    gateway::Gateway,
    http_body,
    services::Caller,
};

pub(super) async fn serve(
    gateway: &Gateway,
    request: Request<Incoming>,
    client: IpAddr,
) -> Result<Response<Body>, Refusal> {
    let identity = who(gateway, &request).await?;
    gateway.callers.take(&identity.user).map_err(Refusal::too_often)?;
    let body = http_body::read(request, gateway.limits.now().http_body).await?;
    let taken = gateway.callers.take_bytes(&identity.user, body.len());
    taken.map_err(Refusal::too_often)?;
    let envelope = Envelope::parse(&body).map_err(Refusal::bad_request)?;
    let route = gateway.routes.message(envelope.msg_id);
    let route = route.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "no service for this msg_id"))?;
    let user = identity.user.clone();
    let caller = Caller {
        user: Some(identity.user),
        session: identity.session.map(|session| session.id),
        connection: None,
        address: client,
    };
    let call = route.call(envelope.bytes, Some(envelope.msg_id), caller);
    let too_many = || Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many messages at once");
    let _calling = gateway.callers.call(&user).ok_or_else(too_many)?;
    let reply = gateway.services.call(call, route.limits).await?;
    let answer = Envelope {
        msg_id: reply.msg_id.or(route.reply).unwrap_or(envelope.msg_id),
        bytes: reply.body,
    };
    Ok(http::text(StatusCode::OK, answer.to_json()))
}

/// `Authorization` only: clients of the article send a cookie as well, which says nothing.
async fn who(gateway: &Gateway, request: &Request<Incoming>) -> Result<Identity, Refusal> {
    let token = source::authorization(request.headers());
    let token = token.ok_or_else(|| Refusal::unauthorized(""))?;
    gateway.authenticate(token).await.map_err(|error| match error {
        AuthError::NoSession | AuthError::Revoked => Refusal::unauthorized(LOGIN_AGAIN),
        AuthError::Unavailable => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, NOT_AVAILABLE),
        _ => Refusal::unauthorized(""),
    })
}
