//! `POST /login`: who proves who it is gets a session, and a token in a cookie.

use std::net::IpAddr;

use herald_router::http::{self, Body, Incoming};
use hyper::{Request, Response, StatusCode};

use super::{Refusal, cookie, envelope::Envelope};
use crate::{
    gateway::Gateway,
    http_body,
    login::{self, LoggedIn, LoginError},
    metrics,
};

pub(super) async fn serve(
    gateway: &Gateway,
    request: Request<Incoming>,
    client: IpAddr,
) -> Result<Response<Body>, Refusal> {
    // Before anything is read: who may not try is to cost nothing.
    gateway.login.may_try(client)?;
    let body = http_body::read(request, gateway.limits.now().http_body).await?;
    let envelope = Envelope::parse(&body).map_err(Refusal::bad_request)?;
    let outcome = gateway
        .login
        .log_in(login::Request {
            gateway,
            msg_id: envelope.msg_id,
            bytes: envelope.bytes,
            address: client,
        })
        .await;
    metrics::login(match &outcome {
        Ok(LoggedIn { token: Some(_), .. }) => "logged_in",
        Ok(_) => "refused",
        Err(LoginError::TooOften(_)) => "limited",
        Err(_) => "failed",
    });
    let logged_in = outcome?;
    let answer = Envelope {
        msg_id: logged_in.reply_id,
        bytes: logged_in.reply,
    };
    let mut response = http::text(StatusCode::OK, answer.to_json());
    if let Some((token, expires)) = logged_in.token {
        cookie::set(response.headers_mut(), &token, expires, gateway.login.secure_cookie);
    }
    Ok(response)
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        let busy = "too many log in at once";
        match error {
            LoginError::NotServed => Self::new(StatusCode::NOT_FOUND, "nobody can log in here"),
            LoginError::TooOften(wait) => Self::later(StatusCode::TOO_MANY_REQUESTS, "too many attempts", wait),
            LoginError::Busy => Self::later(StatusCode::SERVICE_UNAVAILABLE, busy, std::time::Duration::ZERO),
            LoginError::BadRequest(why) => Self::bad_request(why),
            LoginError::Backend(error) => error.into(),
            LoginError::BadAnswer => Self::new(StatusCode::BAD_GATEWAY, "the service failed"),
            LoginError::Inside(failure) => failure.into(),
        }
    }
}
