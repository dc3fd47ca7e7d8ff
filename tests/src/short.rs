//! A client of the HTTP short connections: it only ever POSTs.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::http::{Response, request};

pub const REQ_LOGIN: u32 = 3_750_207_756;
pub const RESP_LOGIN: u32 = 3_334_120_681;
pub const REQ_MY_DATA: u32 = 2_933_023_166;
pub const RESP_MY_DATA: u32 = 2_091_323_817;

pub fn envelope(msg_id: u32, bytes: &[u8]) -> Vec<u8> {
    json!({"msg_id": msg_id, "bytes": STANDARD.encode(bytes)})
        .to_string()
        .into_bytes()
}

/// `cmsg.CReqLogin`, by hand.
pub fn login_request(account: &str, password: &str) -> Vec<u8> {
    let field = |tag: u8, text: &str| {
        let size = u8::try_from(text.len()).expect("a short text");
        [&[tag, size], text.as_bytes()].concat()
    };
    [field(0x12, account), field(0x1a, password)].concat()
}

/// What an envelope in an answer holds.
pub fn opened(response: &Response) -> (u64, Vec<u8>) {
    let envelope: Value = response.json();
    let bytes = STANDARD.decode(envelope["bytes"].as_str().unwrap_or_default());
    (
        envelope["msg_id"].as_u64().expect("a number"),
        bytes.expect("base64 in the answer"),
    )
}

pub async fn login(address: SocketAddr, account: &str, password: &str) -> Response {
    let body = envelope(REQ_LOGIN, &login_request(account, password));
    request(address, "POST", "/login", &[("Authorization", "Bearer ")], &body).await
}

/// The value of the whole `Set-Cookie`, as the article's C# client takes it.
pub fn cookie(response: &Response) -> String {
    response.header("set-cookie").expect("a cookie").to_owned()
}

/// The token alone.
pub fn token(response: &Response) -> String {
    let cookie = cookie(response);
    let (pair, _) = cookie.split_once(';').expect("attributes");
    pair.strip_prefix("token=").expect("the token's cookie").to_owned()
}

/// Logs in, which must succeed.
pub async fn logged_in(address: SocketAddr, account: &str) -> String {
    logged_in_with(address, account, "").await
}

pub async fn logged_in_with(address: SocketAddr, account: &str, password: &str) -> String {
    let response = login(address, account, password).await;
    assert_eq!(response.status, 200, "{response:?}");
    token(&response)
}

pub async fn post(address: SocketAddr, path: &str, token: &str, body: &[u8]) -> Response {
    let bearer = format!("Bearer {token}");
    request(address, "POST", path, &[("Authorization", &bearer)], body).await
}

pub async fn message(address: SocketAddr, token: &str, msg_id: u32, bytes: &[u8]) -> Response {
    post(address, "/message", token, &envelope(msg_id, bytes)).await
}

pub async fn refresh(address: SocketAddr, token: &str) -> Response {
    post(address, "/refresh", token, b"").await
}

/// Refreshes, which must succeed.
pub async fn refreshed(address: SocketAddr, old: &str) -> String {
    let response = refresh(address, old).await;
    assert_eq!(
        (response.status, response.body.as_str()),
        (200, "refresh success"),
        "{response:?}"
    );
    token(&response)
}

pub async fn logout(address: SocketAddr, token: &str) -> Response {
    post(address, "/logout", token, b"").await
}
