//! `POST /api/v1/messages`: one message to one or many targets.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use herald_proto::{
    Target,
    cluster::{SendCommand, Sender},
    dedup, id, limits,
};
use herald_router::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::debug;

use super::ErrorBody;
use crate::{
    dialect::{body, object::Object},
    event::{self, Body},
    gateway::Gateway,
    metrics,
};

/// Targets of one call that are sent to at once.
const AT_ONCE: usize = 64;

#[derive(Deserialize)]
struct Call<'a> {
    to: Object<To>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    kind: Option<String>,
    durable: Option<bool>,
    key: Option<String>,
    ttl: Option<u32>,
    from: Option<String>,
}

/// Exactly one of the four.
#[derive(Deserialize)]
struct To {
    user: Option<String>,
    users: Option<Vec<String>>,
    group: Option<String>,
    all: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct Results {
    results: Vec<Outcome>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Sent(Sent),
    Failed(ErrorBody),
}

#[derive(Serialize)]
struct Sent {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
}

impl From<event::Sent> for Sent {
    fn from(sent: event::Sent) -> Self {
        Self {
            id: sent.id,
            offset: sent.offset,
            online: sent.online,
            duplicate: sent.duplicate,
            time: sent.time,
        }
    }
}

impl To {
    fn targets(self) -> Result<Vec<Target>, Failure> {
        let targets = match (self.user, self.users, self.group, self.all.unwrap_or(false)) {
            (Some(user), None, None, false) => vec![Target::user(user)],
            (None, Some(users), None, false) => users.into_iter().map(Target::user).collect(),
            (None, None, Some(group), false) => vec![Target::group(group)],
            (None, None, None, true) => vec![Target::All],
            _ => {
                return Err(Failure::bad_request(
                    "\"to\" must name exactly one of user, users, group, \"all\":true",
                ));
            }
        };
        if targets.is_empty() || targets.len() > limits::TARGETS_PER_CALL {
            let most = limits::TARGETS_PER_CALL;
            return Err(Failure::bad_request(format!("\"users\" must name 1 to {most} users")));
        }
        Ok(targets)
    }
}

pub(super) async fn post(gateway: &Gateway, api_key: &str, payload: &[u8]) -> Result<Results, Failure> {
    let Object(call): Object<Call<'_>> =
        serde_json::from_slice(payload).map_err(|e| Failure::bad_request(e.to_string()))?;
    for (name, label) in [("kind", &call.kind), ("key", &call.key), ("from", &call.from)] {
        if let Some(label) = label {
            id::check(name, label)?;
        }
    }
    let targets = call.to.0.targets()?;
    let raw = call.body.unwrap_or(RawValue::NULL);
    let body = body::from_json(raw).map_err(|e| Failure::bad_request(e.to_string()))?;
    let message = Message {
        api_key,
        key: call.key,
        body,
        kind: call.kind,
        durable: call.durable.unwrap_or(true),
        ttl: call.ttl.unwrap_or(0),
        from: call.from,
    };
    let mut placed: Vec<(usize, Outcome)> = stream::iter(by_target(targets))
        .map(|(target, places)| message.send(gateway, target, places))
        .buffer_unordered(AT_ONCE)
        .flat_map(stream::iter)
        .collect()
        .await;
    placed.sort_unstable_by_key(|(place, _)| *place);
    let results = placed.into_iter().map(|(_, outcome)| outcome).collect();
    Ok(Results { results })
}

/// Each target once, with its places in the call.
fn by_target(targets: Vec<Target>) -> HashMap<Target, Vec<usize>> {
    let mut places: HashMap<_, Vec<usize>> = HashMap::with_capacity(targets.len());
    for (place, target) in targets.into_iter().enumerate() {
        places.entry(target).or_default().push(place);
    }
    places
}

struct Message<'a> {
    api_key: &'a str,
    key: Option<String>,
    body: Body,
    kind: Option<String>,
    durable: bool,
    ttl: u32,
    from: Option<String>,
}

impl Message<'_> {
    /// To one target, for each of its places in the call, one after another.
    async fn send(&self, gateway: &Gateway, target: Target, places: Vec<usize>) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(places.len());
        let mut failed = None;
        for place in places {
            // Where one has waited for routers in vain, those behind it do not: they could only come before it.
            let sent = match &failed {
                None => self.try_send(gateway, &target).await,
                Some(failure) => Err(Failure::clone(failure)),
            };
            let outcome = match sent {
                Ok(sent) => Outcome::Sent(sent),
                Err(failure) => {
                    let outcome = Outcome::Failed(ErrorBody::from(&failure));
                    failed = failure.code.retry().then_some(failure);
                    outcome
                }
            };
            outcomes.push((place, outcome));
        }
        outcomes
    }

    async fn try_send(&self, gateway: &Gateway, target: &Target) -> Result<Sent, Failure> {
        target.check()?;
        let id = id::message_id();
        let origin = dedup::Origin::Api {
            name: self.api_key,
            // Without a key, only this gateway's own retry is to be recognised.
            key: self.key.as_deref().unwrap_or(&id),
        };
        let dedup = dedup::id(origin, target);
        let command = SendCommand {
            sender: Some(Sender::default()),
            to: Some(target.to_proto()),
            id,
            body: self.body.bytes.clone(),
            content_type: self.body.content_type.clone(),
            kind: self.kind.clone(),
            durable: self.durable,
            ttl: self.ttl,
            dedup,
            from: self.from.clone(),
            copy: false,
            ..SendCommand::default()
        };
        metrics::received("api", target, self.durable);
        let (message, api_key) = (&command.id, self.api_key);
        debug!(message, api_key, to = target.kind(), durable = self.durable, "accepted");
        let sent = gateway.routers.send(&command).await?;
        Ok(event::Sent::from(sent).into())
    }
}
