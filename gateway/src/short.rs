//! HTTP short connections: clients that only ever POST. The wire is that of the first reference article.
//!
//! A request is an [`envelope`] with a message's number and bytes; a token comes in `Authorization`, and goes out in a
//! cookie. Answers are read by clients whatever their content type.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use herald_router::{
    failure::Failure,
    http::{self, Body, Incoming},
};
use hyper::{
    Method, Request, Response, StatusCode,
    header::{self, HeaderValue},
};
use tracing::debug;

use crate::{gateway::Gateway, http_body::BodyError, services::CallError};

mod cookie;
pub mod envelope;
mod log_in;
mod logout;
mod message;
mod refresh;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Login,
    Message,
    Refresh,
    Logout,
}

impl Verb {
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/login" => Some(Self::Login),
            "/message" => Some(Self::Message),
            "/refresh" => Some(Self::Refresh),
            "/logout" => Some(Self::Logout),
            _ => None,
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Self::Login => "/login",
            Self::Message => "/message",
            Self::Refresh => "/refresh",
            Self::Logout => "/logout",
        }
    }
}

/// `client` is the client's address, as trusted proxies tell it.
pub async fn serve(gateway: &Gateway, verb: Verb, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
    if request.method() != Method::POST {
        let mut response = http::text(StatusCode::METHOD_NOT_ALLOWED, "Only POST method is allowed");
        let allow = HeaderValue::from_static("POST");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    gateway.settled().await;
    let outcome = match verb {
        Verb::Login => log_in::serve(gateway, request, client).await,
        Verb::Message => message::serve(gateway, request, client).await,
        Verb::Refresh => refresh::serve(gateway, &request).await,
        Verb::Logout => logout::serve(gateway, &request).await,
    };
    outcome.unwrap_or_else(Refusal::into_response)
}

/// A short text with a status; nothing of what goes on inside.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    text: Cow<'static, str>,
    retry_after: Option<Duration>,
}

/// The token is good, but no longer good for anything.
const LOGIN_AGAIN: &str = "Invalid token. The client needs to login again";
const NOT_AVAILABLE: &str = "not available now";

impl Refusal {
    fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
            retry_after: None,
        }
    }

    fn unauthorized(text: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, text)
    }

    fn too_often(wait: Duration) -> Self {
        Self::later(StatusCode::TOO_MANY_REQUESTS, "too many requests", wait)
    }

    fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    fn later(status: StatusCode, text: &'static str, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..Self::new(status, text)
        }
    }

    fn into_response(self) -> Response<Body> {
        let mut response = http::text(self.status, self.text.into_owned());
        if let Some(wait) = self.retry_after {
            // At least a second: 0 would ask for a busy loop.
            let seconds = wait.as_secs() + 1;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::new(status(error.http_status()), error.to_string())
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Self::new(status(error.http_status()), error.to_string())
    }
}

/// What failed inside is for the log; clients learn whether to try again.
impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        debug!(%failure, "an HTTP request failed inside");
        match status(failure.code.http_status()) {
            // A session that was ended while it was refreshed.
            StatusCode::UNAUTHORIZED => Self::unauthorized(LOGIN_AGAIN),
            StatusCode::GATEWAY_TIMEOUT => Self::new(StatusCode::GATEWAY_TIMEOUT, "no answer in time"),
            StatusCode::SERVICE_UNAVAILABLE => {
                Self::later(StatusCode::SERVICE_UNAVAILABLE, NOT_AVAILABLE, Duration::ZERO)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
        }
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
