//! `POST /command`: one native JSON command, and its answer.

use std::{net::IpAddr, sync::Arc};

use herald_proto::ErrorCode;
use herald_router::{
    failure::Failure,
    http::{Body, Incoming},
};
use hyper::{Method, Request, Response};

use super::{answered, authorized, failed, limited, limited_bytes, only};
use crate::{
    auth::Identity,
    conn::{command::Job, query::Asking},
    dialect::Dialect,
    event::{Answer, BadFrame, Command, Inbound},
    gateway::Gateway,
    http_body, metrics,
    services::{self, Caller},
    session::{Action, Beside, Session},
};

/// The one command of its connection.
const SERIAL: u64 = 1;

pub async fn command(gateway: &Arc<Gateway>, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
    if request.method() != Method::POST {
        return only("POST");
    }
    let identity = match authorized(gateway, request.headers()).await {
        Ok(identity) => identity,
        Err(failure) => return failed(failure),
    };
    if let Err(answer) = limited(gateway, &identity.user) {
        return answered(None, &answer);
    }
    // What fits into a frame fits here.
    let (id, answer) = match http_body::read(request, gateway.limits.now().frame).await {
        Ok(body) => {
            if let Err(answer) = limited_bytes(gateway, &identity.user, body.len()) {
                return answered(None, &answer);
            }
            match decode(body) {
                Ok(inbound) => (inbound.tag.id(), answer(gateway, &identity, inbound, client).await),
                Err(bad) => (bad.tag.id(), bad.failure.into()),
            }
        }
        Err(failure) => (None, Failure::from(failure).into()),
    };
    answered(id, &answer)
}

fn decode(body: bytes::Bytes) -> Result<Inbound, BadFrame> {
    if std::str::from_utf8(&body).is_err() {
        return Err(BadFrame::new(None, "the body is not UTF-8"));
    }
    Dialect::Json.decode(None, true, body)
}

/// The same decisions as in a connection's conversation; how often, that has been decided.
async fn answer(gateway: &Arc<Gateway>, identity: &Identity, inbound: Inbound, client: IpAddr) -> Answer {
    match inbound.command {
        Command::Connect(_) => return needs_a_connection("connect"),
        Command::Refresh { .. } => return needs_a_connection("refresh"),
        _ => {}
    }
    let mut session = Session::new();
    session.connected(identity);
    match session.on_frame(Ok(inbound), Ok(())) {
        Action::Answer(_, answer) | Action::Refuse(_, answer, _) => answer,
        Action::Ordered { command, .. } => {
            // Nobody else ever has this id, so that nothing else passes for a retry of this.
            let connection = format!("{}-c{:x}", gateway.node, rand::random::<u128>());
            let job = Job {
                gateway,
                connection: &connection,
                user: &identity.user,
                session: identity.session.as_ref().map(|session| session.id.as_str()),
                address: client,
                serial: SERIAL,
            };
            job.run(command).await
        }
        Action::Beside { command, .. } => ask(gateway, identity, command, client)
            .await
            .unwrap_or_else(Answer::from),
        // Told above already.
        Action::Connect { .. } => needs_a_connection("connect"),
        Action::Refresh { .. } => needs_a_connection("refresh"),
        Action::Close => needs_a_connection("close"),
    }
}

async fn ask(gateway: &Arc<Gateway>, identity: &Identity, command: Beside, client: IpAddr) -> Result<Answer, Failure> {
    metrics::command(command.verb());
    let asking = Asking {
        gateway: gateway.clone(),
        user: identity.user.clone(),
    };
    match command {
        Beside::History(query) => asking.history(query).await.map(Answer::History),
        Beside::Presence(query) => asking.presence(query).await.map(Answer::Presence),
        Beside::Call(call) => {
            let caller = Caller {
                user: Some(identity.user.clone()),
                session: identity.session.as_ref().map(|session| session.id.clone()),
                connection: None,
                address: client,
            };
            let too_many = || Failure::new(ErrorCode::RateLimited, "too many calls at once");
            let _calling = gateway.callers.call(&identity.user).ok_or_else(too_many)?;
            let body = services::call_by_client(&gateway.services, *call, caller).await?;
            Ok(Answer::Result(body))
        }
        Beside::Watch { .. } => Ok(needs_a_connection("watch")),
        Beside::Unwatch { .. } => Ok(needs_a_connection("unwatch")),
        // Of a dialect that is not spoken here.
        Beside::Routed { .. } => Ok(needs_a_connection("call")),
    }
}

fn needs_a_connection(verb: &str) -> Answer {
    let message = format!("{verb} needs a connection: use a WebSocket");
    Failure::new(ErrorCode::Unsupported, message).into()
}
