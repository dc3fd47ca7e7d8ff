//! The public listener: which path is served by what.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use herald_router::http::{self, Body, Incoming};
use hyper::{Method, Request, Response, StatusCode, Version, header};

use crate::{
    addresses::{Refusal, Slot},
    auth::source,
    conn::reader::{self, Opening, Token},
    cors,
    dialect::Dialect,
    event::ConnectOptions,
    gateway::Gateway,
    metrics, origin, post,
    short::{self, Verb},
};

pub struct Public(pub Arc<Gateway>);

impl http::Handler for Public {
    type Admission = Option<Slot>;

    /// A connection that never asks for anything counts too, beside those that were upgraded. A proxy's are many people's.
    fn admit(&self, peer: SocketAddr) -> Option<Self::Admission> {
        if self.0.proxies.trusts(peer.ip()) {
            return Some(None);
        }
        self.0.addresses.open_http(peer.ip()).ok()
    }

    /// A client that is gone without a word is found by what it does not take in: those that only read have no other
    /// sign of life. As long as a WebSocket may be silent.
    #[cfg(target_os = "linux")]
    fn prepare(&self, socket: &tokio::net::TcpStream) {
        let limits = &self.0.limits;
        let patience = limits.ping_interval + limits.pong_timeout;
        if let Err(error) = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(patience)) {
            tracing::debug!(%error, "a connection that is gone already");
        }
    }

    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let gateway = &self.0;
        if gateway.dev && !origin::host_is_loopback(&request) {
            return refuse(StatusCode::FORBIDDEN, "host", "--dev serves loopback hosts only\n");
        }
        // Of every path: a foreign page could make a browser log in as somebody, or ask with its cookie.
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
        let gateway = &self.0;
        let client = gateway.proxies.client(request.headers(), peer.ip());
        let path = request.uri().path();
        if let Some(verb) = Verb::of(path) {
            let response = short::serve(gateway, verb, request, client).await;
            metrics::http_request(verb.path(), response.status().as_u16());
            return response;
        }
        match path {
            "/ws" => websocket(gateway, request, client),
            "/command" => post::command(gateway, request, client).await,
            "/poll" => post::poll(gateway, request, client).await,
            "/events" => post::events(gateway, request, client).await,
            _ => http::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}

fn refuse(status: StatusCode, reason: &'static str, text: &'static str) -> Response<Body> {
    metrics::refused(reason);
    http::text(status, text)
}

fn websocket(gateway: &Arc<Gateway>, mut request: Request<Incoming>, client: IpAddr) -> Response<Body> {
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method", "only GET\n");
    }
    if request.version() == Version::HTTP_2 {
        // It has no upgrades, and no header to name one. Browsers open a connection of HTTP/1.1 for a WebSocket.
        return refuse(
            StatusCode::UPGRADE_REQUIRED,
            "no_upgrade",
            "a WebSocket needs HTTP/1.1\n",
        );
    }
    if !fastwebsockets::upgrade::is_upgrade_request(&request) {
        let mut response = refuse(
            StatusCode::UPGRADE_REQUIRED,
            "no_upgrade",
            "a WebSocket upgrade is needed\n",
        );
        response
            .headers_mut()
            .insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        return response;
    }
    if !is_handshake(&request) {
        return refuse(StatusCode::BAD_REQUEST, "handshake", "not a WebSocket handshake\n");
    }
    let slot = match gateway.addresses.connect(client) {
        Ok(slot) => slot,
        Err(refusal) => return too_many(refusal),
    };
    if gateway.stop.is_cancelled() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "draining", "shutting down\n");
    }
    let (dialect, subprotocol) = negotiate(&request);
    let opening = opening(gateway, &request, dialect);
    let (response, upgrade) = match fastwebsockets::upgrade::upgrade(&mut request) {
        Ok(upgraded) => upgraded,
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "handshake", "not a WebSocket handshake\n"),
    };
    let connections = gateway.clone();
    gateway.tasks.spawn(async move {
        match upgrade.await {
            // Of fastwebsockets' own connection only the socket is of use.
            Ok(socket) => {
                let socket = socket.into_inner().into_inner();
                reader::start(&connections, socket, opening, client, slot).await;
            }
            Err(error) => tracing::debug!(%error, "an upgrade that did not come about"),
        }
    });
    let (mut parts, _) = response.into_parts();
    if let Some(subprotocol) = subprotocol {
        let value = header::HeaderValue::from_static(subprotocol);
        parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Response::from_parts(parts, Body::default())
}

/// RFC 6455, 4.2.1: HTTP/1.1 or later, version 13, a key of 16 bytes in base64.
fn is_handshake(request: &Request<Incoming>) -> bool {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let key = key.and_then(|key| STANDARD.decode(key.as_bytes()).ok());
    request.version() >= Version::HTTP_11 && key.is_some_and(|key| key.len() == 16)
}

fn too_many(refusal: Refusal) -> Response<Body> {
    match refusal {
        Refusal::TooManyConnections => refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "address_connections",
            "too many connections from this address\n",
        ),
        Refusal::TooOften => refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "address_rate",
            "too many connects from this address\n",
        ),
    }
}

/// The dialect, and the subprotocol to echo: the first offered that is known. Where none is asked for, JSON is spoken.
fn negotiate(request: &Request<Incoming>) -> (Dialect, Option<&'static str>) {
    let known = source::subprotocols(request.headers()).find_map(Dialect::by_subprotocol);
    (known.unwrap_or(Dialect::Json), known.map(Dialect::name))
}

fn opening(gateway: &Gateway, request: &Request<Incoming>, dialect: Dialect) -> Opening {
    let query = request.uri().query().unwrap_or_default();
    let query: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(query.as_bytes()).collect();
    let parameter = |name| source::parameter(&query, name).map(str::to_owned);
    let token = match source::find(request.headers(), &query) {
        None => Token::None,
        Some(token) => match gateway.identify(&token) {
            Ok(identity) => Token::Good(Box::new(identity)),
            Err(error) => {
                tracing::debug!(%error, "a token was refused");
                metrics::refused("token");
                Token::Bad
            }
        },
    };
    Opening {
        dialect,
        token,
        options: ConnectOptions {
            cursor: parameter("cursor"),
            since: parameter("since"),
            device: parameter("device"),
        },
    }
}
