//! A router's admin listener: health and metrics for everybody, and for those with a key a drain.

use std::{net::SocketAddr, sync::Arc};

use hyper::{Request, Response, StatusCode, header};

use crate::{
    admin::Admin,
    config::Secret,
    drain::{self, Drain},
    http::{self, Body, Incoming, Turned},
};

pub struct Operators {
    pub admin: Admin,
    pub drain: Arc<Drain>,
    pub keys: Vec<Secret>,
}

impl http::Handler for Operators {
    type Admission = ();

    fn admit(&self, _peer: SocketAddr) -> Result<(), Turned> {
        Ok(())
    }

    async fn handle(&self, request: Request<Incoming>, _peer: SocketAddr) -> Response<Body> {
        if let Some(answer) = self.admin.answer(request.method(), request.uri()) {
            return answer;
        }
        if request.uri().path() != drain::PATH {
            return http::text(StatusCode::NOT_FOUND, "not found\n");
        }
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match given.is_some_and(|given| drain::is_one_of(&self.keys, given)) {
            true => self.drain.answer(request.method()),
            false => http::text(StatusCode::UNAUTHORIZED, "an API key is needed\n"),
        }
    }
}
