//! Who belongs to a group: pages of members, and changes of them.

use futures_util::{StreamExt, stream};
use herald_proto::{
    Target,
    cluster::{MemberCommand, MembersCommand, Sender},
    dedup, id, limits,
};
use herald_router::failure::Failure;
use hyper::Method;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    call::{Asked, Call, Done, Json, NoBody, NoQuery, fresh_key},
    presence::some,
    schema::{ErrorBody, Id, Limit, page_after, page_limit},
};
use crate::gateway::Gateway;

/// Members that are changed at once.
const AT_ONCE: usize = 64;

pub(super) struct List;

impl Call for List {
    const ID: &'static str = "list_members";
    const RIGHT: &'static str = "members";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/groups/{gid}/members";
    const SUMMARY: &'static str = "Lists a group's members, by name";
    type Query = Which;
    type Body = NoBody;
    type Answer = Members;

    async fn run(asked: Asked<'_, Self>) -> Result<Members, Failure> {
        let command = MembersCommand {
            group: asked.ids.group().to_owned(),
            online: asked.query.online.unwrap_or(false),
            after: page_after(asked.query.after)?,
            limit: page_limit(asked.query.limit)?,
        };
        let page = asked.gateway.routers.members(&command).await?;
        let next = page.users.last().filter(|_| page.more).map(|last| last.user.clone());
        let members = page.users.into_iter().map(|user| Member {
            user: user.user,
            online: user.online,
            since: some(user.since),
        });
        Ok(Members {
            members: members.collect(),
            next,
        })
    }
}

#[derive(Deserialize, IntoParams)]
pub(super) struct Which {
    /// True: only those who are online.
    #[param(value_type = bool, required = false)]
    online: Option<bool>,
    /// The `next` of the page before.
    #[param(value_type = Id, required = false)]
    after: Option<String>,
    /// 100 unless said.
    #[param(value_type = Limit, required = false)]
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Members {
    members: Vec<Member>,
    /// Hand it in as `after` for the next page. Absent: that was all.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Member {
    user: String,
    online: bool,
    /// Since when one who is online is; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

pub(super) struct Put;

impl Call for Put {
    const ID: &'static str = "add_member";
    const RIGHT: &'static str = "change_members";
    const METHOD: Method = Method::PUT;
    const PATH: &'static str = "/api/v1/groups/{gid}/members/{uid}";
    const SUMMARY: &'static str = "Adds a user to a group";
    const ABOUT: &'static str = "The user need not be online. One who belongs to it already stays.";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Done;

    async fn run(asked: Asked<'_, Self>) -> Result<Done, Failure> {
        change(asked.gateway, asked.key, asked.ids.group(), asked.ids.user(), true).await?;
        Ok(Done {})
    }
}

pub(super) struct Delete;

impl Call for Delete {
    const ID: &'static str = "remove_member";
    const RIGHT: &'static str = "change_members";
    const METHOD: Method = Method::DELETE;
    const PATH: &'static str = "/api/v1/groups/{gid}/members/{uid}";
    const SUMMARY: &'static str = "Removes a user from a group";
    const ABOUT: &'static str = "One who does not belong to it is no error.";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Done;

    async fn run(asked: Asked<'_, Self>) -> Result<Done, Failure> {
        change(asked.gateway, asked.key, asked.ids.group(), asked.ids.user(), false).await?;
        Ok(Done {})
    }
}

pub(super) struct Change;

impl Call for Change {
    const ID: &'static str = "change_members";
    const RIGHT: &'static str = "change_members";
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/api/v1/groups/{gid}/members";
    const SUMMARY: &'static str = "Adds and removes up to 1,000 users";
    const ABOUT: &'static str = "One result for each, first of those that are added, then of those that are removed; one \
                                 failure spoils no other.";
    type Query = NoQuery;
    type Body = Json<Changes>;
    type Answer = Changed;

    async fn run(asked: Asked<'_, Self>) -> Result<Changed, Failure> {
        let Changes { add, remove } = asked.body.0;
        let (add, remove) = (add.unwrap_or_default(), remove.unwrap_or_default());
        if add.len() + remove.len() > limits::TARGETS_PER_CALL {
            let most = limits::TARGETS_PER_CALL;
            return Err(Failure::bad_request(format!("at most {most} users")));
        }
        let mut results = Vec::with_capacity(add.len() + remove.len());
        // One after the other: who stands in both is removed.
        for (users, joins) in [(add, true), (remove, false)] {
            let (gateway, key, group) = (asked.gateway, asked.key, asked.ids.group());
            let changes = stream::iter(users).map(|user| async move {
                let changed = change(gateway, key, group, &user, joins).await;
                ChangedMember {
                    error: changed.err().map(|failure| ErrorBody::from(&failure).error),
                    user,
                }
            });
            let changed: Vec<_> = changes.buffered(AT_ONCE).collect().await;
            results.extend(changed);
        }
        Ok(Changed { results })
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MemberChanges)]
pub(super) struct Changes {
    #[schema(max_items = 1000)]
    add: Option<Vec<String>>,
    #[schema(max_items = 1000)]
    remove: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MembersChanged)]
pub(super) struct Changed {
    results: Vec<ChangedMember>,
}

#[derive(Serialize, ToSchema)]
struct ChangedMember {
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<super::schema::ErrorFields>,
}

async fn change(gateway: &Gateway, api_key: &str, group: &str, user: &str, joins: bool) -> Result<(), Failure> {
    id::check("user", user)?;
    let origin = dedup::Origin::Api {
        name: api_key,
        key: &fresh_key(),
    };
    // Its control message is the user's.
    let dedup = dedup::id(origin, &Target::user(user));
    let command = MemberCommand {
        sender: Some(Sender::default()),
        user: user.to_owned(),
        group: group.to_owned(),
        dedup,
        node: String::new(),
    };
    match joins {
        true => gateway.routers.join(&command).await?,
        false => gateway.routers.leave(&command).await?,
    };
    Ok(())
}
