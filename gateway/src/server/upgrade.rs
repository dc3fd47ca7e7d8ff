//! From an upgrade request to a connection.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use herald_proto::CloseCode;
use herald_router::http::{self, Body, Incoming};
use hyper::{Method, Request, Response, StatusCode, Version, header, upgrade::Upgraded};

use super::{claim, full, refuse};
use crate::{
    addresses::{Refusal, Room},
    auth::source,
    conn::{
        early::Early,
        opening::{self, Opening, Token},
    },
    dialect::Dialect,
    event::ConnectOptions,
    gateway::{Gateway, Refused},
    metrics,
    paths::Found,
    percent::{self, Malformed, Query},
};

pub(super) fn query(request: &Request<Incoming>) -> Result<Query<'_>, Malformed> {
    percent::query(request.uri().query().unwrap_or_default())
}

/// A native client.
pub(super) fn native(gateway: &Arc<Gateway>, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
    let room = match admitted(gateway, &request, client) {
        Ok(room) => room,
        Err(refusal) => return *refusal,
    };
    let known = known_subprotocol(&request);
    let opening = match opening(gateway, &request, known.unwrap_or(Dialect::Json)) {
        Ok(opening) => opening,
        Err(malformed) => return refuse(StatusCode::BAD_REQUEST, "handshake", format!("{malformed}\n")),
    };
    upgraded(gateway, request, client, room, opening, known)
}

/// A client of one of the articles.
pub(super) async fn article(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    client: IpAddr,
    found: Found,
) -> Response<Body> {
    let room = match admitted(gateway, &request, client) {
        Ok(room) => room,
        Err(refusal) => return *refusal,
    };
    let dialect = found.dialect;
    let token = match claim::token(gateway, &request, found).await {
        Ok(token) => token,
        Err(refusal) => return refusal.into(),
    };
    // Of what browsers offer beside a token one must be chosen, though another dialect is spoken.
    let known = known_subprotocol(&request);
    let identity = match token {
        Token::Good(identity) => identity,
        token => {
            let opening = Opening {
                dialect,
                token,
                options: ConnectOptions::default(),
            };
            return upgraded(gateway, request, client, room, opening, known);
        }
    };
    match Early::admit(gateway, dialect, identity, client, room).await {
        Ok(early) => switching(gateway, request, known, async move |socket| early.start(socket)),
        Err(refused) => not_admitted(refused),
    }
}

/// It would only come again at once: a node that is not well asks for patience.
fn not_admitted(Refused { failure, code }: Refused) -> Response<Body> {
    let status = match code {
        CloseCode::TooManyConnections => 429,
        _ => failure.code.http_status(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    metrics::refused("admission");
    let mut response = http::text(status, format!("{}\n", failure.message));
    if failure.code.retry() {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// It may be upgraded, and its address has room. Boxed: refusals are rare, and large.
fn admitted(gateway: &Gateway, request: &Request<Incoming>, client: IpAddr) -> Result<Room, Box<Response<Body>>> {
    let no = |status, reason, text| Err(Box::new(refuse(status, reason, text)));
    if request.method() != Method::GET {
        return no(StatusCode::METHOD_NOT_ALLOWED, "method", "only GET\n");
    }
    if request.version() == Version::HTTP_2 {
        // It has no upgrades, and no header to name one. Browsers open a connection of HTTP/1.1 for a WebSocket.
        let needed = "a WebSocket needs HTTP/1.1\n";
        return no(StatusCode::UPGRADE_REQUIRED, "no_upgrade", needed);
    }
    if !fastwebsockets::upgrade::is_upgrade_request(request) {
        let needed = "a WebSocket upgrade is needed\n";
        let mut response = refuse(StatusCode::UPGRADE_REQUIRED, "no_upgrade", needed);
        let websocket = header::HeaderValue::from_static("websocket");
        response.headers_mut().insert(header::UPGRADE, websocket);
        return Err(Box::new(response));
    }
    if !is_handshake(request) {
        return no(StatusCode::BAD_REQUEST, "handshake", "not a WebSocket handshake\n");
    }
    gateway.accepts().map_err(|draining| Box::new(full(draining)))?;
    // First its own, so that one address cannot use up what the node takes of all.
    let slot = gateway.addresses.connect(client);
    let slot = slot.map_err(|refusal| Box::new(too_many(refusal)))?;
    let place = gateway.capacity.upgrade();
    let place = place.map_err(|reason| Box::new(full(reason)))?;
    Ok(Room::new(slot, place))
}

fn upgraded(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    client: IpAddr,
    room: Room,
    opening: Opening,
    subprotocol: Option<Dialect>,
) -> Response<Body> {
    let connections = gateway.clone();
    switching(gateway, request, subprotocol, async move |socket| {
        opening::start(&connections, socket, opening, client, room).await;
    })
}

/// Answers with the 101, and begins once the socket is there.
fn switching<B, F>(
    gateway: &Gateway,
    mut request: Request<Incoming>,
    subprotocol: Option<Dialect>,
    begin: B,
) -> Response<Body>
where
    B: FnOnce(Upgraded) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (response, upgrade) = match fastwebsockets::upgrade::upgrade(&mut request) {
        Ok(upgraded) => upgraded,
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "handshake", "not a WebSocket handshake\n"),
    };
    gateway.tasks.spawn(async move {
        match upgrade.await {
            // Of fastwebsockets' own connection only the socket is of use.
            Ok(socket) => begin(socket.into_inner().into_inner()).await,
            Err(error) => tracing::debug!(%error, "an upgrade that did not come about"),
        }
    });
    let (mut parts, _) = response.into_parts();
    if let Some(subprotocol) = subprotocol {
        let value = header::HeaderValue::from_static(subprotocol.name());
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

/// The first offered that is known is the one to echo. Where none is asked for, JSON is spoken.
fn known_subprotocol(request: &Request<Incoming>) -> Option<Dialect> {
    source::subprotocols(request.headers()).find_map(Dialect::by_subprotocol)
}

fn opening(gateway: &Gateway, request: &Request<Incoming>, dialect: Dialect) -> Result<Opening, Malformed> {
    let query = query(request)?;
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
    Ok(Opening {
        dialect,
        token,
        options: ConnectOptions {
            cursor: parameter("cursor"),
            since: parameter("since"),
            device: parameter("device"),
        },
    })
}
