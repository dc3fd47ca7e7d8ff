//! What every node's admin listener serves without a key: health and metrics.

use std::{borrow::Cow, net::SocketAddr};

use hyper::{Method, Request, Response, StatusCode};

use crate::{
    http::{self, Body, Incoming},
    telemetry::Figures,
};

/// Says whether the node can do its work now, or why not.
pub type Ready = Box<dyn Fn() -> Result<(), Cow<'static, str>> + Send + Sync>;

pub struct Admin {
    ready: Ready,
    metrics: Figures,
}

impl Admin {
    pub fn new(ready: Ready, metrics: Figures) -> Self {
        Self { ready, metrics }
    }

    /// None: not one of these paths.
    pub fn answer(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let answer = match path {
            "/health/live" => http::text(StatusCode::OK, "live\n"),
            "/health/ready" => match (self.ready)() {
                Ok(()) => http::text(StatusCode::OK, "ready\n"),
                Err(why) => http::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/metrics" => http::typed(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                self.metrics.render(),
            ),
            _ => return None,
        };
        if method == Method::GET || method == Method::HEAD {
            Some(answer)
        } else {
            Some(http::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"))
        }
    }
}

impl http::Handler for Admin {
    type Admission = ();

    fn admit(&self, _peer: SocketAddr) -> Option<()> {
        Some(())
    }

    async fn handle(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        self.answer(request.method(), request.uri().path())
            .unwrap_or_else(|| http::text(StatusCode::NOT_FOUND, "not found\n"))
    }
}
