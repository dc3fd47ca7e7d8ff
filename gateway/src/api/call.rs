//! One call of the server API, described once: what routes it, checks it, parses it and documents it all come from here, so
//! that none of these can say something else than the others.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use herald_proto::id;
use herald_router::{
    drain::Drain,
    failure::Failure,
    http::{Body, Incoming},
    telemetry::Levels,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    answer,
    path::Ids,
    schema::{Schemas, reference},
};
use crate::{dialect::object::Object, gateway::Gateway, http_body, percent};

pub(super) trait Call: Sized + Send + 'static {
    /// Its `operationId`.
    const ID: &'static str;
    /// The name by which an API key is allowed it.
    const RIGHT: &'static str;
    const METHOD: Method;
    /// With `{uid}` and `{gid}` where ids stand.
    const PATH: &'static str;
    const SUMMARY: &'static str;
    /// More than that, if there is more to say.
    const ABOUT: &'static str = "";
    type Query: DeserializeOwned + IntoParams + Send;
    type Body: Payload;
    type Answer: Serialize + ToSchema;

    fn run(asked: Asked<'_, Self>) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

/// Who asks, and this node.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub gateway: &'a Arc<Gateway>,
    /// Of its log.
    pub levels: &'a Levels,
    pub drain: &'a Drain,
    /// Of the API key.
    pub key: &'a str,
}

/// What one request asks for.
pub(super) struct Asked<'a, C: Call> {
    pub gateway: &'a Arc<Gateway>,
    pub levels: &'a Levels,
    pub drain: &'a Drain,
    /// Of the API key.
    pub key: &'a str,
    pub ids: Ids,
    pub query: C::Query,
    pub body: C::Body,
}

/// What a request's body is to be.
pub(super) trait Payload: Sized + Send {
    /// Whether it is read at all.
    const IS_READ: bool;

    fn parse(bytes: &[u8]) -> Result<Self, Failure>;

    /// None: no body.
    fn schema(schemas: &mut Schemas) -> Option<RefOr<Schema>>;
}

pub(super) struct NoBody;

/// A JSON object.
pub(super) struct Json<T>(pub T);

/// Of a call without parameters.
#[derive(serde::Deserialize, IntoParams)]
pub(super) struct NoQuery {}

/// The answer of a call that has nothing to tell.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {}

impl Payload for NoBody {
    const IS_READ: bool = false;

    fn parse(_: &[u8]) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn schema(_: &mut Schemas) -> Option<RefOr<Schema>> {
        None
    }
}

impl<T: DeserializeOwned + ToSchema + Send> Payload for Json<T> {
    const IS_READ: bool = true;

    fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let Object(value) = serde_json::from_slice(bytes).map_err(|e| Failure::bad_request(e.to_string()))?;
        Ok(Self(value))
    }

    fn schema(schemas: &mut Schemas) -> Option<RefOr<Schema>> {
        Some(reference::<T>(schemas))
    }
}

type Run = for<'a> fn(Caller<'a>, Ids, Request<Incoming>) -> BoxFuture<'a, Result<Response<Body>, Failure>>;

/// A call whatever its types, for the table of all.
pub(super) struct Entry {
    pub id: &'static str,
    pub right: &'static str,
    pub method: Method,
    pub path: &'static str,
    pub summary: &'static str,
    pub about: &'static str,
    pub run: Run,
    pub document: fn(&mut Schemas) -> Documented,
}

/// What of a call depends on its types.
pub(super) struct Documented {
    pub query: Vec<utoipa::openapi::path::Parameter>,
    pub body: Option<RefOr<Schema>>,
    pub answer: RefOr<Schema>,
}

impl Entry {
    pub const fn of<C: Call>() -> Self {
        Self {
            id: C::ID,
            right: C::RIGHT,
            method: C::METHOD,
            path: C::PATH,
            summary: C::SUMMARY,
            about: C::ABOUT,
            run: run::<C>,
            document: document::<C>,
        }
    }
}

fn run<C: Call>(
    caller: Caller<'_>,
    ids: Ids,
    request: Request<Incoming>,
) -> BoxFuture<'_, Result<Response<Body>, Failure>> {
    Box::pin(async move {
        let Caller {
            gateway,
            levels,
            drain,
            key,
        } = caller;
        ids.check()?;
        let query = request.uri().query().unwrap_or_default();
        percent::query(query).map_err(|e| Failure::bad_request(e.to_string()))?;
        let query = serde_urlencoded::from_str(query).map_err(|e| Failure::bad_request(e.to_string()))?;
        let body = match C::Body::IS_READ {
            true => http_body::read(request, gateway.limits.now().http_body).await?,
            false => Bytes::new(),
        };
        let asked = Asked {
            gateway,
            levels,
            drain,
            key,
            ids,
            query,
            body: C::Body::parse(&body)?,
        };
        Ok(answer(StatusCode::OK, &C::run(asked).await?))
    })
}

fn document<C: Call>(schemas: &mut Schemas) -> Documented {
    Documented {
        query: C::Query::into_params(|| Some(utoipa::openapi::path::ParameterIn::Query)),
        body: C::Body::schema(schemas),
        answer: reference::<C::Answer>(schemas),
    }
}

/// Only this gateway's own retry of a command is to be recognised by it.
pub(super) fn fresh_key() -> String {
    id::message_id()
}
