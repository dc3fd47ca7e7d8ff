//! The demo page, with `--dev` only, and where it gets its tokens from.

use herald_proto::id;
use herald_router::http::{self, Body};
use hyper::{Method, Request, Response, StatusCode, header};
use serde::Serialize;

use super::{Asset, ICON, PAGE, SCRIPT, STYLE};
use crate::{
    auth::{signer::Grant, source, unix_now},
    gateway::Gateway,
    percent,
};

pub(super) const ASSETS: &[Asset] = &[
    Asset::new("/", PAGE, include_str!("../../web/demo/index.html")),
    Asset::new("/demo/demo.css", STYLE, include_str!("../../web/demo/demo.css")),
    Asset::new("/demo/demo.js", SCRIPT, include_str!("../../web/demo/demo.js")),
    Asset::new("/demo/view.js", SCRIPT, include_str!("../../web/demo/view.js")),
    Asset::new("/demo/dom.js", SCRIPT, include_str!("../../web/dom.js")),
    Asset::new("/demo/icon.svg", ICON, include_str!("../../web/icon.svg")),
];

/// How long a token is good unless the page asks for another time, in seconds.
const TTL: u64 = 3600;

#[derive(Serialize)]
struct Minted<'a> {
    token: &'a str,
    /// Unix seconds.
    expires: u64,
}

/// Only ever asked with `--dev`. None: none of its paths.
pub fn answer<B>(gateway: &Gateway, request: &Request<B>) -> Option<Response<Body>> {
    match request.uri().path() {
        "/dev/token" => Some(token(gateway, request)),
        _ => super::page(ASSETS, request),
    }
}

/// A token for whoever asks, as anybody can sign one with the published key. Pages elsewhere cannot: the origin has been
/// checked, and so has the host.
fn token<B>(gateway: &Gateway, request: &Request<B>) -> Response<Body> {
    if request.method() != Method::POST {
        let mut response = http::text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
        let allow = header::HeaderValue::from_static("POST");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    let query = match percent::query(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return http::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let Some(user) = source::parameter(&query, "user") else {
        return http::text(StatusCode::BAD_REQUEST, "a user is needed: ?user=\n");
    };
    let ttl = match source::parameter(&query, "ttl").map(str::parse::<u64>) {
        None => TTL,
        Some(Ok(ttl)) if (1..=TTL).contains(&ttl) => ttl,
        Some(_) => return http::text(StatusCode::BAD_REQUEST, "ttl: 1 to 3600 seconds\n"),
    };
    let expires = unix_now() + ttl;
    let grant = Grant {
        user,
        account: None,
        groups: &[],
        broadcast: true,
        issued: id::now_ms(),
        expires,
        session: None,
    };
    match gateway.auth.sign(&grant) {
        Ok(token) => minted(&Minted { token: &token, expires }),
        Err(error) => http::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn minted(minted: &Minted<'_>) -> Response<Body> {
    let text = serde_json::to_string(minted).unwrap_or_default(); // a text and a number cannot fail
    let mut response = http::json(StatusCode::OK, text);
    let no_store = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}
