//! The public listener: which path is served by what.

use std::{net::SocketAddr, sync::Arc};

use herald_router::http::{self, Body, Incoming};
use hyper::{Request, Response, StatusCode, header};

use crate::{
    addresses::Slot,
    cors,
    gateway::Gateway,
    metrics, origin, post,
    short::{self, Verb},
    web,
};

mod claim;
mod upgrade;

pub struct Public {
    gateway: Arc<Gateway>,
    /// Where it listens, as the configuration has it.
    listener: SocketAddr,
}

impl Public {
    pub fn new(gateway: Arc<Gateway>, listener: SocketAddr) -> Self {
        Self { gateway, listener }
    }
}

impl http::Handler for Public {
    type Admission = Option<Slot>;

    /// A connection that never asks for anything counts too, beside those that were upgraded. A proxy's are many people's.
    fn admit(&self, peer: SocketAddr) -> Option<Self::Admission> {
        if self.gateway.proxies.trusts(peer.ip()) {
            return Some(None);
        }
        self.gateway.addresses.open_http(peer.ip()).ok()
    }

    /// A client that is gone without a word is found by what it does not take in: those that only read have no other
    /// sign of life. As long as a WebSocket may be silent.
    #[cfg(target_os = "linux")]
    fn prepare(&self, socket: &tokio::net::TcpStream) {
        let limits = &self.gateway.limits;
        let patience = limits.ping_interval + limits.pong_timeout;
        if let Err(error) = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(patience)) {
            tracing::debug!(%error, "a connection that is gone already");
        }
    }

    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let gateway = &self.gateway;
        if gateway.dev && !origin::host_is_loopback(&request) {
            return refuse(StatusCode::FORBIDDEN, "host", "--dev serves loopback hosts only\n");
        }
        if let Some(library) = web::library(&request) {
            return library;
        }
        // Of every other path: a foreign page could make a browser log in as somebody, or ask with its cookie.
        if !gateway.origins.allows(request.headers()) {
            return refuse(StatusCode::FORBIDDEN, "origin", "this origin is not allowed\n");
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = match cors::preflight(&request) {
            Some(answer) => answer,
            None => self.answer(request, peer).await,
        };
        if let Some(origin) = origin {
            cors::allow(response.headers_mut(), origin);
        }
        response
    }
}

impl Public {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let gateway = &self.gateway;
        let client = gateway.proxies.client(request.headers(), peer.ip());
        let path = request.uri().path();
        if let Some(verb) = Verb::of(path) {
            let response = short::serve(gateway, verb, request, client).await;
            metrics::http_request(verb.path(), response.status().as_u16());
            return response;
        }
        if let Some(found) = gateway.paths.find(self.listener, path) {
            return upgrade::article(gateway, request, client, found).await;
        }
        match path {
            "/ws" => upgrade::native(gateway, request, client),
            "/command" => post::command(gateway, request, client).await,
            "/poll" => post::poll(gateway, request, client).await,
            "/events" => post::events(gateway, request, client).await,
            _ => demo(gateway, &request).unwrap_or_else(|| http::text(StatusCode::NOT_FOUND, "not found\n")),
        }
    }
}

fn demo(gateway: &Gateway, request: &Request<Incoming>) -> Option<Response<Body>> {
    gateway.dev.then(|| web::demo::answer(gateway, request)).flatten()
}

fn refuse(status: StatusCode, reason: &'static str, text: &'static str) -> Response<Body> {
    metrics::refused(reason);
    http::text(status, text)
}
