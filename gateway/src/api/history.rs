//! `GET /api/v1/history`: what is stored for a target. `DELETE`: it is deleted.

use herald_proto::{
    Target,
    cluster::{HistoryCommand, PurgeCommand, Sender},
    dedup,
    limits::HISTORY_MAX,
};
use herald_router::failure::Failure;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{
    call::{Asked, Call, NoBody, fresh_key},
    schema::{Anything, Id, Limit, OffsetText},
};
use crate::{
    dialect::body::InJson,
    event::{Body, Message},
};

pub(super) struct Get;

impl Call for Get {
    const ID: &'static str = "history";
    const RIGHT: &'static str = "history";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/history";
    const SUMMARY: &'static str = "Reads what is stored for a user, a group or all";
    const ABOUT: &'static str = "Exactly one of `user`, `group` and `all=true`, and at most one of `after` and `before`; with \
                                 neither the newest. Always ascending.";
    type Query = Page;
    type Body = NoBody;
    type Answer = History;

    async fn run(asked: Asked<'_, Self>) -> Result<History, Failure> {
        let query = asked.query;
        if query.limit.is_some_and(|limit| !(1..=HISTORY_MAX).contains(&limit)) {
            return Err(Failure::bad_request(format!("limit must be 1 to {HISTORY_MAX}")));
        }
        let of = target(query.user, query.group, query.all)?;
        let command = HistoryCommand {
            sender: Some(Sender::default()),
            of: Some(of.to_proto()),
            after: query.after,
            before: query.before,
            limit: query.limit.unwrap_or_default(),
        };
        let told = asked.gateway.routers.history(&command).await?;
        let messages = told.entries.into_iter().filter_map(|entry| {
            let offset = format!("{}:{}", told.log, entry.sequence);
            Some(Message::new(&of, entry.stored?, Some(offset)).into())
        });
        Ok(History {
            messages: messages.collect(),
            more: told.more,
            gap: told.gap,
        })
    }
}

pub(super) struct Delete;

impl Call for Delete {
    const ID: &'static str = "delete_history";
    const RIGHT: &'static str = "delete_history";
    const METHOD: Method = Method::DELETE;
    const PATH: &'static str = "/api/v1/history";
    const SUMMARY: &'static str = "Deletes what is stored for a user, a group or all";
    const ABOUT: &'static str = "Exactly one of `user`, `group` and `all=true`. What had been stored until now goes, or with \
                                 `before` what stands before that offset. Who had not received it is told of a gap.";
    type Query = Until;
    type Body = NoBody;
    type Answer = Deleted;

    async fn run(asked: Asked<'_, Self>) -> Result<Deleted, Failure> {
        let query = asked.query;
        if query.after.is_some() || query.limit.is_some() {
            // To ignore these would delete more than was meant.
            return Err(Failure::bad_request("what is deleted has no after and no limit"));
        }
        let of = target(query.user, query.group, query.all)?;
        let origin = dedup::Origin::Api {
            name: asked.key,
            key: &fresh_key(),
        };
        let command = PurgeCommand {
            dedup: dedup::id(origin, &of),
            of: Some(of.to_proto()),
            before: query.before,
        };
        let done = asked.gateway.routers.purge(&command).await?;
        Ok(Deleted { deleted: done.count })
    }
}

fn target(user: Option<String>, group: Option<String>, all: Option<bool>) -> Result<Target, Failure> {
    let target = match (user, group, all.unwrap_or(false)) {
        (Some(user), None, false) => Target::user(user),
        (None, Some(group), false) => Target::group(group),
        (None, None, true) => Target::All,
        _ => return Err(Failure::bad_request("exactly one of user, group, all=true")),
    };
    target.check()?;
    Ok(target)
}

#[derive(Deserialize, IntoParams)]
pub(super) struct Page {
    #[param(value_type = Id, required = false)]
    user: Option<String>,
    #[param(value_type = Id, required = false)]
    group: Option<String>,
    #[param(value_type = bool, required = false)]
    all: Option<bool>,
    /// What comes after this offset.
    #[param(value_type = OffsetText, required = false)]
    after: Option<String>,
    /// What stands before this offset.
    #[param(value_type = OffsetText, required = false)]
    before: Option<String>,
    /// 50 unless said.
    #[param(value_type = Limit, required = false)]
    limit: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
pub(super) struct Until {
    #[param(value_type = Id, required = false)]
    user: Option<String>,
    #[param(value_type = Id, required = false)]
    group: Option<String>,
    #[param(value_type = bool, required = false)]
    all: Option<bool>,
    /// Only what stands before this offset.
    #[param(value_type = OffsetText, required = false)]
    before: Option<String>,
    #[param(ignore)]
    after: Option<String>,
    #[param(ignore)]
    limit: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct History {
    /// Ascending.
    messages: Vec<StoredMessage>,
    /// In the direction of reading.
    more: bool,
    /// Some may be gone for good.
    gap: bool,
}

#[derive(Serialize, ToSchema)]
struct StoredMessage {
    id: String,
    /// Absent: the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    to: StoredFor,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Anything, required = false)]
    body: Option<Box<RawValue>>,
    /// A body that is no JSON, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// Unix milliseconds.
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetText>)]
    offset: Option<String>,
}

/// One of the three.
#[derive(Default, Serialize, ToSchema)]
struct StoredFor {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
}

impl From<Target> for StoredFor {
    fn from(target: Target) -> Self {
        match target {
            Target::User(user) => Self {
                user: Some(user.to_string()),
                ..Self::default()
            },
            Target::Group(group) => Self {
                group: Some(group.to_string()),
                ..Self::default()
            },
            Target::All => Self {
                all: Some(true),
                ..Self::default()
            },
        }
    }
}

impl From<Message> for StoredMessage {
    fn from(message: Message) -> Self {
        let (body, body_base64, content_type) = body_parts(&message.body);
        Self {
            id: message.id,
            from: message.from,
            to: message.to.into(),
            kind: message.kind,
            body,
            body_base64,
            content_type,
            time: message.time,
            offset: message.offset,
        }
    }
}

/// `body`, or else `body_base64` and `content_type`.
fn body_parts(body: &Body) -> (Option<Box<RawValue>>, Option<String>, Option<String>) {
    match body.in_json() {
        InJson::Plain(raw) => (Some(raw.to_owned()), None, None),
        InJson::Base64(text) => (None, Some(text), Some(body.content_type().into_owned())),
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryDeleted)]
pub(super) struct Deleted {
    /// How many stored entries went, changes of groups and the like among them.
    deleted: u64,
}
