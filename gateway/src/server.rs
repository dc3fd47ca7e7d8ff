//! The public listener: which path is served by what.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use herald_router::http::{self, Body, Incoming, Turned};
use hyper::{Request, Response, StatusCode, header};

use crate::{
    addresses::Slot,
    capacity::{Full, Place},
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
    /// Of the node's sockets, and of the address' connections.
    type Admission = (Place, Option<Slot>);

    /// A connection that never asks for anything counts too, beside those that were upgraded. A proxy's are many people's.
    fn admit(&self, peer: SocketAddr) -> Result<Self::Admission, Turned> {
        let gateway = &self.gateway;
        let slot = match gateway.proxies.trusts(peer.ip()) {
            true => None,
            false => gateway.addresses.open_http(peer.ip()).map_err(|_| Turned::Away)?,
        };
        match gateway.capacity.socket() {
            Ok(place) => Ok((place, slot)),
            Err(full) => {
                metrics::refused(full.reason());
                Err(Turned::Back(full.retry_after()))
            }
        }
    }

    fn exhausted(&self) {
        metrics::refused(Full::Descriptors.reason());
    }

    /// A client that is gone without a word is found by what it does not take in: those that only read have no other
    /// sign of life. As long as a WebSocket may be silent.
    #[cfg(target_os = "linux")]
    fn prepare(&self, socket: &tokio::net::TcpStream) {
        let limits = self.gateway.limits.now();
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
        if let Err(heavy) = gateway.capacity.light() {
            return full(heavy);
        }
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

/// The node takes nobody just now: elsewhere there may be room, or here in a while.
fn full(full: Full) -> Response<Body> {
    let mut response = refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        full.reason(),
        format!("{}\n", full.text()),
    );
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, full.retry_after().as_secs().into());
    response
}

fn demo(gateway: &Gateway, request: &Request<Incoming>) -> Option<Response<Body>> {
    gateway.dev.then(|| web::demo::answer(gateway, request)).flatten()
}

fn refuse(status: StatusCode, reason: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    metrics::refused(reason);
    http::text(status, text)
}
