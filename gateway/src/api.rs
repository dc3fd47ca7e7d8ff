//! The server API on the admin listener, for the application's backends.

use std::{net::SocketAddr, sync::Arc};

use herald_proto::ErrorCode;
use herald_router::{
    admin::Admin,
    failure::Failure,
    http::{self, Body, Incoming},
    telemetry::Levels,
};
use hyper::{Method, Request, Response, StatusCode, header};
use parking_lot::RwLock;
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::{auth::source, config::ApiKeySettings, gateway::Gateway, http_body, origin};

mod kick;
mod log_level;
mod messages;
mod presence;
mod route;

pub use route::CALLS;

use route::Resource;

pub struct Api {
    gateway: Arc<Gateway>,
    admin: Admin,
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
    pub fn new(gateway: Arc<Gateway>, admin: Admin, keys: Keys, levels: Levels) -> Self {
        Self {
            gateway,
            admin,
            keys,
            levels,
        }
    }

    async fn call(&self, request: Request<Incoming>) -> Result<Response<Body>, Failure> {
        let resource = Resource::of(request.uri().path());
        let resource = resource.ok_or_else(|| Failure::new(ErrorCode::NotFound, "no such call"))?;
        let call = resource.call(request.method());
        let key = self.authorize(&request, call)?;
        if call.is_none() {
            return Ok(only(resource.allow()));
        }
        match resource {
            Resource::Messages => {
                let body = self.body(request).await?;
                let results = messages::post(&self.gateway, &key.name, &body).await?;
                Ok(answer(StatusCode::OK, &results))
            }
            Resource::Presence => {
                let body = self.body(request).await?;
                Ok(answer(StatusCode::OK, &presence::post(&self.gateway, &body).await?))
            }
            Resource::User(user) => Ok(answer(StatusCode::OK, &presence::get(&self.gateway, user).await?)),
            Resource::LogLevel if request.method() == Method::GET => {
                Ok(answer(StatusCode::OK, &log_level::get(&self.levels)))
            }
            Resource::LogLevel => {
                let body = self.body(request).await?;
                Ok(answer(StatusCode::OK, &log_level::put(&self.levels, &key.name, &body)?))
            }
            Resource::Connections(user) => {
                let query = request.uri().query().unwrap_or_default();
                kick::delete(&self.gateway, user, query, &key.name).await?;
                Ok(answer(StatusCode::OK, &Done {}))
            }
        }
    }

    fn authorize(&self, request: &Request<Incoming>, call: Option<&str>) -> Result<ApiKeySettings, Failure> {
        let given = source::authorization(request.headers()).unwrap_or_default();
        let keys = self.keys.0.read().clone();
        let key = find(&keys, |key| key.as_bytes().ct_eq(given.as_bytes()).into());
        let key = key.ok_or_else(|| Failure::new(ErrorCode::Unauthorized, "an API key is needed"))?;
        match (&key.calls, call) {
            (Some(calls), Some(call)) if !calls.iter().any(|allowed| allowed == call) => {
                Err(Failure::forbidden(format!("this API key does not allow {call}")))
            }
            _ => Ok(key.clone()),
        }
    }

    async fn body(&self, request: Request<Incoming>) -> Result<bytes::Bytes, Failure> {
        Ok(http_body::read(request, self.gateway.limits.http_body).await?)
    }
}

impl http::Handler for Api {
    type Admission = ();

    fn admit(&self, _peer: SocketAddr) -> Option<()> {
        Some(())
    }

    async fn handle(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        if self.gateway.dev && !origin::host_is_loopback(&request) {
            return error(&Failure::forbidden("--dev serves loopback hosts only"));
        }
        if let Some(answer) = self.admin.answer(request.method(), request.uri().path()) {
            return answer;
        }
        self.call(request).await.unwrap_or_else(|failure| error(&failure))
    }
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

/// The answer of a call that has nothing to tell.
#[derive(Serialize)]
struct Done {}

#[derive(Serialize)]
pub(crate) struct ErrorBody {
    error: ErrorFields,
}

#[derive(Serialize)]
struct ErrorFields {
    code: &'static str,
    message: String,
    retry: bool,
}

impl From<&Failure> for ErrorBody {
    fn from(failure: &Failure) -> Self {
        Self {
            error: ErrorFields {
                code: failure.code.as_str(),
                message: failure.message.clone(),
                retry: failure.code.retry(),
            },
        }
    }
}

fn only(methods: &'static str) -> Response<Body> {
    let mut response = http::text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    let allow = header::HeaderValue::from_static(methods);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn error(failure: &Failure) -> Response<Body> {
    let status = StatusCode::from_u16(failure.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(status, &ErrorBody::from(failure))
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
