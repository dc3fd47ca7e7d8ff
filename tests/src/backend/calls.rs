//! What tests say to backends, through a gateway.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    client::{Client, Dialect},
    token,
};

pub fn call(service: &str, method: &str, body: Value) -> Value {
    json!({"call": {"service": service, "method": method, "body": body}})
}

/// A development user.
pub async fn client(address: SocketAddr, dialect: Dialect, user: &str) -> Client {
    Client::with_token(address, dialect, &token::dev(user)).await
}

/// The content of the result of a call that must succeed.
pub async fn result(client: &mut Client, service: &str, method: &str, body: Value) -> Value {
    client.ask(call(service, method, body), "result").await
}

/// The code of the error that a call must meet.
pub async fn refused(client: &mut Client, service: &str, method: &str) -> String {
    client.refused(call(service, method, json!(1))).await
}
