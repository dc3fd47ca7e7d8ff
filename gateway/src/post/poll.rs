//! `POST /poll`: waits until there is something for the user, or for so long as the client likes, and gives it together
//! with a cursor, so that with the next poll nothing is lost and nothing comes twice.

use std::{net::IpAddr, sync::Arc, time::Duration};

use herald_proto::{CloseCode, ErrorCode};
use herald_router::{
    failure::Failure,
    http::{self, Body, Incoming},
};
use hyper::{
    Method, Request, Response, StatusCode,
    header::{self, HeaderValue},
};
use serde::Deserialize;

use super::{
    NotNow, answered, authorized, failed,
    guest::Guest,
    limited, only, too_many,
    turn::{self, Turn},
};
use crate::{
    addresses::Room,
    auth::Identity,
    conn::pull::Pull,
    dialect::{Dialect, object::Object},
    event::ConnectOptions,
    gateway::{self, Gateway},
    http_body, metrics,
};

/// A cursor at its longest takes 4 KiB, a device's name 128 bytes, which JSON may write six times as long.
const MOST: bytesize::ByteSize = bytesize::ByteSize::kib(16);

/// What a client that says nothing waits.
const WAIT: f64 = 30.0;
/// Proxies mostly give up on a silent answer after a minute.
const LONGEST_WAIT: f64 = 60.0;

#[derive(Debug, Default, Deserialize)]
struct Ask {
    cursor: Option<String>,
    since: Option<String>,
    device: Option<String>,
    /// Seconds.
    wait: Option<f64>,
}

impl Ask {
    fn parse(body: &[u8]) -> Result<Self, Failure> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let parsed = serde_json::from_slice(body).map(|Object(ask)| ask);
        parsed.map_err(|error| Failure::bad_request(error.to_string()))
    }

    fn wait(&self) -> Result<Duration, Failure> {
        let wait = self.wait.unwrap_or(WAIT).min(LONGEST_WAIT);
        Duration::try_from_secs_f64(wait).map_err(|_| Failure::bad_request("wait must not be negative"))
    }
}

pub async fn poll(gateway: &Arc<Gateway>, request: Request<Incoming>, client: IpAddr) -> Response<Body> {
    if request.method() != Method::POST {
        return only("POST");
    }
    let identity = match authorized(gateway, request.headers()).await {
        Ok(identity) => identity,
        Err(failure) => return failed(failure),
    };
    metrics::command("poll");
    if let Err(answer) = limited(gateway, &identity.user) {
        return answered(None, &answer);
    }
    match take_turn(gateway, &identity, request, client).await {
        Ok(turn) => answer(&turn),
        Err(not_now) => not_now.into(),
    }
}

async fn take_turn(
    gateway: &Arc<Gateway>,
    identity: &Identity,
    request: Request<Incoming>,
    client: IpAddr,
) -> Result<Turn, NotNow> {
    let ask = Ask::parse(&http_body::read(request, MOST).await?)?;
    let wait = ask.wait()?;
    let options = ConnectOptions {
        cursor: ask.cursor,
        since: ask.since,
        device: ask.device,
    };
    let start = gateway::start(&options)?;
    gateway.accepts()?;
    let slot = gateway.addresses.hold(client).map_err(too_many)?;
    let room = Room::new(slot, gateway.capacity.poll()?);
    let mut guest = Guest::new(gateway, Dialect::Poll, !wait.is_zero(), client, room);
    let begun = guest.begin(identity, &start, options.device.as_deref()).await;
    let entered = begun.map_err(|refused| refused.failure)?;
    let mut pull = Pull::new(guest.conn.clone());
    let turn = turn::take(&gateway.hub, &mut pull, &start, entered, wait).await;
    if let Some(failure) = turn.ending.and_then(failure) {
        return Err(failure.into());
    }
    guest.answered();
    Ok(turn)
}

/// Of the ends of a connection those that its client must hear of; with the others it may go on where it is.
fn failure(ending: CloseCode) -> Option<Failure> {
    match ending {
        CloseCode::TokenExpired | CloseCode::Kicked | CloseCode::Unauthorized => {
            Some(Failure::new(ErrorCode::Unauthorized, ending.reason()))
        }
        CloseCode::Replaced | CloseCode::TooManyConnections => Some(Failure::forbidden(ending.reason())),
        _ => None,
    }
}

fn answer(turn: &Turn) -> Response<Body> {
    let room: usize = turn.messages.iter().map(|message| message.len() + 1).sum();
    let mut text = Vec::with_capacity(room + 128);
    text.extend_from_slice(b"{\"messages\":[");
    for (at, message) in turn.messages.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(message);
    }
    // A cursor holds nothing that JSON escapes.
    text.extend_from_slice(format!("],\"cursor\":\"{}\",\"gap\":{}}}", turn.cursor, turn.gap).as_bytes());
    let mut response = http::json(StatusCode::OK, text);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_half_a_minute_unless_said_and_a_minute_at_most() {
        let wait = |body: &str| Ask::parse(body.as_bytes()).and_then(|ask| ask.wait());
        for (body, seconds) in [
            ("", 30.0),
            ("{}", 30.0),
            (r#"{"wait":0}"#, 0.0),
            (r#"{"wait":0.5}"#, 0.5),
            (r#"{"wait":3600}"#, 60.0),
        ] {
            assert_eq!(wait(body), Ok(Duration::from_secs_f64(seconds)), "{body}");
        }
        for bad in [r#"{"wait":-1}"#, r#"{"wait":"1"}"#, "[]", "x"] {
            assert!(wait(bad).is_err(), "{bad}");
        }
    }
}
