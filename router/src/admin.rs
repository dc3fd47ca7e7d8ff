//! What every node's admin listener serves without a key: health and metrics.

use std::sync::Arc;

use hyper::{Method, Response, StatusCode, Uri};

use crate::{
    health::{self, Pulse, Ready},
    http::{self, Body},
    metrics::node,
    telemetry::Figures,
};

pub struct Admin {
    ready: Ready,
    pulse: Arc<Pulse>,
    metrics: Figures,
}

impl Admin {
    pub fn new(ready: Ready, pulse: Arc<Pulse>, metrics: Figures) -> Self {
        Self { ready, pulse, metrics }
    }

    /// None: not one of these paths.
    pub fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<Body>> {
        let answer = match uri.path() {
            "/health/live" => match self.pulse.check() {
                Ok(()) => http::text(StatusCode::OK, "live\n"),
                Err(still) => {
                    let text = format!("nothing has turned for {} s\n", still.as_secs());
                    http::text(StatusCode::SERVICE_UNAVAILABLE, text)
                }
            },
            "/health/ready" => self.ready(uri.query()),
            "/metrics" => {
                node::conditions(&(self.ready)());
                let figures = self.metrics.render();
                http::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", figures)
            }
            _ => return None,
        };
        if method == Method::GET || method == Method::HEAD {
            Some(answer)
        } else {
            Some(http::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"))
        }
    }
}

impl Admin {
    /// `?verbose` names what holds as well.
    fn ready(&self, query: Option<&str>) -> Response<Body> {
        let verbose = query.is_some_and(|query| query.split('&').any(|flag| flag.split('=').next() == Some("verbose")));
        let (ready, text) = health::report(&(self.ready)(), verbose);
        let status = match ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        http::text(status, text)
    }
}
