//! A node that is asked to drain, by a signal or by its admin listener, and what it tells of that meanwhile.

use std::time::Duration;

use hyper::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Secret,
    http::{self, Body},
};

mod client;

pub use client::{Args, DrainError, ask};

/// Where it is asked for, and asked about.
pub const PATH: &str = "/api/v1/drain";

pub struct Drain {
    asked: CancellationToken,
    /// Cancelled when it has begun, for whatever reason.
    begun: CancellationToken,
    window: Duration,
    left: Box<dyn Fn() -> usize + Send + Sync>,
    /// Tells this process from the next one on its address.
    process: u64,
}

/// What a node tells of its drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub draining: bool,
    /// Over how much time its end is spread.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// A gateway's connections, or what a router is still at.
    pub left: usize,
    pub process: u64,
}

impl Drain {
    pub fn new(begun: CancellationToken, window: Duration, left: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self {
            asked: CancellationToken::new(),
            begun,
            window,
            left: Box::new(left),
            process: rand::random::<u64>() >> 11, // a whole number in every JSON
        }
    }

    /// Somebody wants it to drain.
    pub fn ask(&self) {
        self.asked.cancel();
    }

    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    pub fn status(&self) -> Status {
        Status {
            draining: self.asked.is_cancelled() || self.begun.is_cancelled(),
            window: self.window,
            left: (self.left)(),
            process: self.process,
        }
    }

    /// The answer to one who may ask.
    pub fn answer(&self, method: &Method) -> Response<Body> {
        match *method {
            Method::POST => self.ask(),
            Method::GET => {}
            _ => return http::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST\n"),
        }
        match serde_json::to_vec(&self.status()) {
            Ok(status) => http::json(StatusCode::OK, status),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                http::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
            }
        }
    }
}

/// Every key is compared, in constant time.
pub fn is_one_of(keys: &[Secret], given: &str) -> bool {
    let mut found = false;
    for key in keys {
        found |= bool::from(key.0.as_bytes().ct_eq(given.as_bytes()));
    }
    found
}
