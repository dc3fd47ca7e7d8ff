//! `POST /api/v1/messages`: one message to one or many targets.

use std::sync::Arc;

use herald_proto::{Target, cluster, id, limits};
use herald_router::failure::Failure;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use utoipa::ToSchema;

use super::{
    call::{Asked, Call, Json, NoQuery},
    schema::{Anything, ErrorBody, Id, Label, OffsetText, whole, written},
};
use crate::{dialect::object::Object, event};

pub(super) mod batch;
mod send;

use send::{Job, Message, send_all};

pub(super) struct Post;

impl Call for Post {
    const ID: &'static str = "send";
    const RIGHT: &'static str = "messages";
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/api/v1/messages";
    const SUMMARY: &'static str = "Sends one message to one or many targets";
    const ABOUT: &'static str = "One result for each target, in their order; one failure spoils no other. With a `key` the \
                                 call may be made again: each target gets the message once.";
    type Query = NoQuery;
    type Body = Json<MessageIn>;
    type Answer = Results;

    async fn run(asked: Asked<'_, Self>) -> Result<Results, Failure> {
        let (message, targets) = Message::of(asked.body.0)?;
        let message = Arc::new(message);
        let jobs = targets.into_iter().enumerate().map(|(place, target)| Job {
            place: (0, place),
            message: message.clone(),
            target,
        });
        let results = send_all(asked.gateway, asked.key, jobs.collect()).await;
        let results = results.into_iter().map(|(_, outcome)| outcome).collect();
        Ok(Results { results })
    }
}

/// A message to be sent.
#[derive(Deserialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageIn {
    #[schema(value_type = To)]
    to: Object<To>,
    /// Null where there is none.
    #[schema(value_type = Anything, required = false)]
    body: Option<Box<RawValue>>,
    /// In place of `body`: bytes of another kind, which `content_type` names.
    #[schema(value_type = Base64, required = false)]
    body_base64: Option<String>,
    #[schema(value_type = ContentType, required = false)]
    content_type: Option<String>,
    #[schema(value_type = Option<Label>)]
    kind: Option<String>,
    /// Stored before it is answered, and kept for those who are away. True unless said.
    durable: Option<bool>,
    /// By which a repeated call is recognised, for each target by itself, where the message is stored.
    #[schema(value_type = Option<Label>)]
    key: Option<String>,
    /// Seconds after which nobody is given it any more.
    #[schema(value_type = Seconds, required = false)]
    #[serde(default, deserialize_with = "whole")]
    ttl: Option<u32>,
    /// In whose name.
    #[schema(value_type = Option<Id>)]
    from: Option<String>,
}

/// Exactly one of the four.
#[derive(Deserialize)]
pub(super) struct To {
    user: Option<String>,
    users: Option<Vec<String>>,
    group: Option<String>,
    all: Option<bool>,
}

/// 32 bits without a sign, which OpenAPI's formats do not know.
pub(super) struct Seconds;

pub(super) struct Base64;

pub(super) struct ContentType;

written! {
    Base64 = "Base64", json!({ "type": ["string", "null"], "format": "herald-base64", "contentEncoding": "base64" });
    ContentType = "ContentType", json!({
        "type": ["string", "null"], "format": "herald-content-type", "description": "Of `body_base64`; application/octet-stream unless said",
    });
    Seconds = "Seconds", json!({ "type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX });
    To = "To", {
        let id = json!({ "$ref": "#/components/schemas/Id" });
        let none = json!({ "type": "null" });
        let not_all = json!({ "enum": [false, null] });
        // Each of these is answered by itself.
        let users = json!({
            "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": limits::TARGETS_PER_CALL,
        });
        json!({
            "description": "Exactly one of a user, users, a group, or all",
            "oneOf": [
                { "type": "object", "required": ["user"],
                  "properties": { "user": id, "users": none, "group": none, "all": not_all } },
                { "type": "object", "required": ["users"],
                  "properties": { "users": users, "user": none, "group": none, "all": not_all } },
                { "type": "object", "required": ["group"],
                  "properties": { "group": id, "users": none, "user": none, "all": not_all } },
                { "type": "object", "required": ["all"],
                  "properties": { "all": { "enum": [true] }, "users": none, "group": none, "user": none } },
            ],
        })
    };
}

impl To {
    fn targets(self) -> Result<Vec<Target>, Failure> {
        let targets = match (self.user, self.users, self.group, self.all.unwrap_or(false)) {
            (Some(user), None, None, false) => {
                id::check("user", &user)?;
                vec![Target::user(user)]
            }
            // Each of these is answered by itself.
            (None, Some(users), None, false) => users.into_iter().map(Target::user).collect(),
            (None, None, Some(group), false) => {
                id::check("group", &group)?;
                vec![Target::group(group)]
            }
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

#[derive(Serialize, ToSchema)]
pub(super) struct Results {
    results: Vec<Outcome>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Outcome {
    Sent(Sent),
    Failed(ErrorBody),
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Self {
        Self::Failed(failure.into())
    }
}

/// What became of it. A duplicate tells the first one's id and time, unless the log no longer has it.
#[derive(Serialize, ToSchema)]
pub(super) struct Sent {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Of one that is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetText>)]
    offset: Option<String>,
    /// Whether the user, anybody of the group, or anybody at all is online.
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    duplicate: bool,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
}

impl From<cluster::Sent> for Sent {
    fn from(sent: cluster::Sent) -> Self {
        let sent = event::Sent::from(sent);
        Self {
            id: sent.id,
            offset: sent.offset,
            online: sent.online,
            duplicate: sent.duplicate,
            time: sent.time,
        }
    }
}
