//! The application's backends: the one path by which `/message`, a native `call`, an opcode frame and `/login` reach them.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::ErrorCode;
use herald_router::failure::Failure;

mod backend;
mod client;
mod headers;
mod nats;
mod pool;
mod routes;
mod upstream;

pub use client::call_by_client;
pub use headers::ERROR_TEXT;
pub use pool::Services;
pub use routes::{Route, Routes};
pub use upstream::Upstream;

/// A request on its way to a backend.
#[derive(Debug, Clone)]
pub struct Call {
    pub service: Arc<str>,
    /// By which it goes there, as the metrics call it; None: by its name.
    pub route: Option<Arc<str>>,
    pub method: Option<Arc<str>>,
    pub body: Bytes,
    pub content_type: &'static str,
    pub msg_id: Option<u32>,
    pub caller: Caller,
}

/// On whose behalf. All of it is verified: backends may believe it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// None at a login.
    pub user: Option<String>,
    pub session: Option<String>,
    /// Of a WebSocket client.
    pub connection: Option<String>,
    pub address: IpAddr,
}

/// What a backend answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub body: Bytes,
    /// As the backend named it; empty where it did not.
    pub content_type: String,
    /// From the reply header `Herald-Msg-Id`.
    pub msg_id: Option<u32>,
}

/// What one call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    pub timeout: Duration,
    pub max_request: usize,
    pub max_reply: usize,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Neither configured nor built in, or not for who asks.
    #[error("no such service")]
    Unknown,
    #[error("the service is not there")]
    NotThere,
    #[error("too many calls are under way")]
    Overloaded,
    #[error("the service did not answer in time")]
    Timeout,
    /// The backend's own error, 400 to 499.
    #[error("{text}")]
    Refused { status: u16, text: String },
    /// It broke off, or answered with an error that is its own fault.
    #[error("the service failed")]
    Broken,
    #[error("the service's answer is too large")]
    ReplyTooLarge,
    #[error("the request is too large for the service")]
    RequestTooLarge,
}

impl CallError {
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::NotThere | Self::Overloaded => 503,
            Self::Timeout => 504,
            Self::Refused { status, .. } => *status,
            Self::Broken | Self::ReplyTooLarge => 502,
            Self::RequestTooLarge => 413,
        }
    }

    /// How it is called in the metrics.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotThere => "not_there",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Refused { .. } => "refused",
            Self::Broken => "broken",
            Self::ReplyTooLarge => "reply_too_large",
            Self::RequestTooLarge => "request_too_large",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::NotFound,
            Self::NotThere | Self::Overloaded => ErrorCode::Unavailable,
            Self::Timeout => ErrorCode::Timeout,
            Self::Refused { status, .. } => match status {
                401 => ErrorCode::Unauthorized,
                403 => ErrorCode::Forbidden,
                404 => ErrorCode::NotFound,
                413 => ErrorCode::TooLarge,
                429 => ErrorCode::RateLimited,
                _ => ErrorCode::BadRequest,
            },
            Self::Broken => ErrorCode::Internal,
            Self::ReplyTooLarge | Self::RequestTooLarge => ErrorCode::TooLarge,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}
