//! The server API on the admin listener, for the application's backends.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use herald_proto::ErrorCode;
use herald_router::{
    admin::Admin,
    drain::Drain,
    failure::Failure,
    http::{self, Body, Incoming},
    telemetry::Levels,
};
use hyper::{Method, Request, Response, StatusCode, header};
use parking_lot::RwLock;
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::{auth::source, config::ApiKeySettings, gateway::Gateway, origin, web};

mod call;
mod drain;
mod groups;
mod history;
mod kick;
mod log_level;
mod members;
mod messages;
mod nodes;
mod openapi;
mod path;
mod presence;
mod schema;
mod users;

use call::{Caller, Entry};
use path::Found;
use schema::ErrorBody;

const DOCUMENT: &str = "/api/v1/openapi.json";

/// All calls.
static CALLS: [Entry; 20] = [
    Entry::of::<messages::Post>(),
    Entry::of::<messages::batch::Post>(),
    Entry::of::<users::List>(),
    Entry::of::<users::Get>(),
    Entry::of::<kick::Delete>(),
    Entry::of::<presence::Post>(),
    Entry::of::<groups::List>(),
    Entry::of::<groups::Get>(),
    Entry::of::<groups::Delete>(),
    Entry::of::<members::List>(),
    Entry::of::<members::Change>(),
    Entry::of::<members::Put>(),
    Entry::of::<members::Delete>(),
    Entry::of::<history::Get>(),
    Entry::of::<history::Delete>(),
    Entry::of::<nodes::List>(),
    Entry::of::<drain::Get>(),
    Entry::of::<drain::Post>(),
    Entry::of::<log_level::Get>(),
    Entry::of::<log_level::Put>(),
];

/// The names that an API key can be limited to. Some calls share one, for who may do the one may do the other as well.
pub fn rights() -> Vec<&'static str> {
    let mut rights = Vec::new();
    for call in &CALLS {
        if !rights.contains(&call.right) {
            rights.push(call.right);
        }
    }
    rights
}

pub struct Api {
    gateway: Arc<Gateway>,
    admin: Admin,
    drain: Arc<Drain>,
    keys: Keys,
    levels: Levels,
}

/// Who may call; they can be exchanged while all goes on.
#[derive(Clone)]
pub struct Keys(Arc<RwLock<Arc<[ApiKeySettings]>>>);

impl Keys {
    pub fn new(keys: &[ApiKeySettings]) -> Self {
        Self(Arc::new(RwLock::new(keys.into())))
    }

    pub fn exchange(&self, keys: &[ApiKeySettings]) {
        *self.0.write() = keys.into();
    }
}

impl Api {
    pub fn new(gateway: Arc<Gateway>, admin: Admin, drain: Arc<Drain>, keys: Keys, levels: Levels) -> Self {
        Self {
            gateway,
            admin,
            drain,
            keys,
            levels,
        }
    }

    async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let path = request.uri().path();
        if path == DOCUMENT {
            self.authorize(&request, None)?;
            return Ok(match *request.method() {
                Method::GET | Method::HEAD => http::json(StatusCode::OK, document()),
                _ => only(&[&Method::GET]),
            });
        }
        match path::find(&CALLS, request.method(), path) {
            Found::Call(call, ids) => {
                let key = self.authorize(&request, Some(call.right))?;
                let caller = Caller {
                    gateway: &self.gateway,
                    levels: &self.levels,
                    drain: &self.drain,
                    key: &key.name,
                };
                (call.run)(caller, ids, request).await
            }
            Found::Only(methods) => {
                self.authorize(&request, None)?;
                Ok(only(&methods))
            }
            Found::Nothing => Err(Failure::new(ErrorCode::NotFound, "no such call")),
        }
    }

    fn authorize(&self, request: &Request<Incoming>, right: Option<&str>) -> Result<ApiKeySettings, Failure> {
        let given = source::authorization(request.headers()).unwrap_or_default();
        let keys = self.keys.0.read().clone();
        let key = find(&keys, |key| key.as_bytes().ct_eq(given.as_bytes()).into());
        let key = key.ok_or_else(|| Failure::new(ErrorCode::Unauthorized, "an API key is needed"))?;
        match (&key.calls, right) {
            (Some(calls), Some(right)) if !calls.iter().any(|allowed| allowed == right) => {
                Err(Failure::forbidden(format!("this API key does not allow {right}")))
            }
            _ => Ok(key.clone()),
        }
    }
}

impl http::Handler for Api {
    type Admission = ();

    fn admit(&self, _peer: SocketAddr) -> Result<(), http::Turned> {
        Ok(())
    }

    async fn handle(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        if self.gateway.dev && !origin::host_is_loopback(&request) {
            return error(&Failure::forbidden("--dev serves loopback hosts only"));
        }
        if let Some(answer) = self.admin.answer(request.method(), request.uri()) {
            return answer;
        }
        if let Some(page) = web::console::answer(&request) {
            return page;
        }
        self.call(request).await.unwrap_or_else(|failure| error(&failure))
    }
}

/// The OpenAPI document, which is the same for the life of the process.
fn document() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        let document = serde_json::to_vec(&openapi::document(&CALLS));
        // Made of this program alone: the tests show that it can be written.
        document.unwrap_or_default().into()
    });
    DOCUMENT.clone()
}

/// Every key is compared, in constant time, so that the time tells nothing of which one was nearly right.
fn find(keys: &[ApiKeySettings], mut same: impl FnMut(&str) -> bool) -> Option<&ApiKeySettings> {
    let mut found = None;
    for key in keys {
        if same(&key.key.0) {
            found = Some(key);
        }
    }
    found
}

fn only(methods: &[&Method]) -> Response<Body> {
    let methods: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    let methods = methods.join(", ");
    let failure = Failure::new(ErrorCode::Unsupported, format!("only {methods}"));
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &ErrorBody::from(&failure));
    if let Ok(allow) = header::HeaderValue::from_str(&methods) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn error(failure: &Failure) -> Response<Body> {
    let status = StatusCode::from_u16(failure.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(status, &ErrorBody::from(failure));
    if status == StatusCode::UNAUTHORIZED {
        let bearer = header::HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

fn answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(body) => http::json(status, body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            http::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use herald_router::config::Secret;

    use super::*;

    #[test]
    fn every_key_is_compared_whichever_is_right() {
        let key = |name: &str| ApiKeySettings {
            name: name.to_owned(),
            key: Secret(format!("the-key-of-{name}")),
            calls: None,
        };
        let keys = [key("one"), key("two"), key("three")];
        for right in ["one", "two", "three", "nobody"] {
            let mut compared = Vec::new();
            let found = find(&keys, |key| {
                compared.push(key.to_owned());
                key == format!("the-key-of-{right}")
            });
            assert_eq!(found.map(|key| key.name.as_str()), (right != "nobody").then_some(right));
            assert_eq!(compared, keys.each_ref().map(|key| key.key.0.clone()), "{right}");
        }
    }
}
