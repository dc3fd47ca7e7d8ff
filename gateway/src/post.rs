//! For those who only POST: `POST /command`, `POST /poll`, `GET /events`.
//!
//! A client of `/poll` or `/events` is a connection like any other while its answer lasts: a member of its targets, told
//! of what it missed, bounded, drained, kicked, and ended with its token. Only its outbox is emptied by the answer.

use std::time::Duration;

use herald_proto::ErrorCode;
use herald_router::{
    failure::Failure,
    http::{self, Body},
};
use hyper::{HeaderMap, Response, StatusCode, header};

use crate::{
    addresses::Refusal,
    auth::{AuthError, Identity, source},
    capacity::Full,
    dialect::json::{self, Shape},
    event::{Answer, ErrorAnswer},
    gateway::Gateway,
    http_body::BodyError,
    metrics,
};

mod callers;
mod command;
mod events;
mod guest;
mod poll;
pub(crate) mod turn;

pub use callers::Callers;
pub use command::command;
pub use events::events;
pub use poll::poll;

/// An answer as a WebSocket client would get it, with the HTTP status that fits.
fn answered(id: Option<u32>, answer: &Answer) -> Response<Body> {
    let (status, after_ms) = match answer {
        Answer::Error(error) => (error.code.http_status(), error.after_ms),
        _ => (200, None),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = http::json(status, json::answer(Shape::Bare, id, answer));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    if let Some(after_ms) = after_ms {
        headers.insert(header::RETRY_AFTER, after_ms.div_ceil(1000).into());
    }
    response
}

fn failed(failure: Failure) -> Response<Body> {
    answered(None, &failure.into())
}

/// Any other method than these.
fn only(method: &'static str) -> Response<Body> {
    let mut response = http::text(StatusCode::METHOD_NOT_ALLOWED, format!("only {method}\n"));
    let allow = header::HeaderValue::from_static(method);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// By `Authorization` alone, which no other page can make a browser send.
async fn authorized(gateway: &Gateway, headers: &HeaderMap) -> Result<Identity, Failure> {
    identified(gateway, source::authorization(headers)).await
}

async fn identified(gateway: &Gateway, token: Option<&str>) -> Result<Identity, Failure> {
    let refused = |message| {
        metrics::refused("token");
        Failure::new(ErrorCode::Unauthorized, message)
    };
    let token = token.ok_or_else(|| refused("a token is needed"))?;
    gateway.authenticate(token).await.map_err(|error| match error {
        AuthError::Unavailable => Failure::new(ErrorCode::Unavailable, error.to_string()),
        error => {
            tracing::debug!(%error, "a token was refused");
            refused("the token is not valid")
        }
    })
}

/// How often this user may come, to this node.
fn limited(gateway: &Gateway, user: &str) -> Result<(), Answer> {
    gateway.callers.take(user).map_err(later)
}

/// How much it may bring.
fn limited_bytes(gateway: &Gateway, user: &str, bytes: usize) -> Result<(), Answer> {
    gateway.callers.take_bytes(user, bytes).map_err(later)
}

fn later(wait: Duration) -> Answer {
    told_when(ErrorCode::RateLimited, "too many requests", wait)
}

fn told_when(code: ErrorCode, message: &str, wait: Duration) -> Answer {
    Answer::Error(ErrorAnswer {
        code,
        message: message.to_owned(),
        after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
    })
}

/// Why a client gets no answer that lasts.
enum NotNow {
    Failed(Failure),
    /// The node takes nobody just now.
    Full(Full),
}

impl From<Failure> for NotNow {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<BodyError> for NotNow {
    fn from(error: BodyError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Full> for NotNow {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

impl From<NotNow> for Response<Body> {
    fn from(not_now: NotNow) -> Self {
        match not_now {
            NotNow::Failed(failure) => failed(failure),
            NotNow::Full(full) => {
                metrics::refused(full.reason());
                answered(
                    None,
                    &told_when(ErrorCode::Unavailable, full.text(), full.retry_after()),
                )
            }
        }
    }
}

fn too_many(refusal: Refusal) -> Failure {
    let (reason, message) = match refusal {
        Refusal::TooManyConnections => ("address_connections", "too many connections from this address"),
        Refusal::TooOften => ("address_rate", "too many connects from this address"),
    };
    metrics::refused(reason);
    Failure::new(ErrorCode::RateLimited, message)
}
