//! `GET /api/v1/groups`, and `GET` and `DELETE` of one. A group is there while it has members.

use herald_proto::{
    ErrorCode, Target,
    cluster::{DeleteGroupCommand, GroupInfo, MembersCommand, PageCommand},
    dedup,
};
use herald_router::failure::Failure;
use hyper::Method;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    call::{Asked, Call, NoBody, NoQuery, fresh_key},
    schema::{Id, Limit, page_after, page_limit},
};

pub(super) struct List;

impl Call for List {
    const ID: &'static str = "list_groups";
    const RIGHT: &'static str = "groups";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/groups";
    const SUMMARY: &'static str = "Lists the groups that have members, by name";
    type Query = Page;
    type Body = NoBody;
    type Answer = Groups;

    async fn run(asked: Asked<'_, Self>) -> Result<Groups, Failure> {
        let command = PageCommand {
            after: page_after(asked.query.after)?,
            limit: page_limit(asked.query.limit)?,
        };
        let page = asked.gateway.routers.groups(&command).await?;
        let next = page.groups.last().filter(|_| page.more).map(|last| last.group.clone());
        Ok(Groups {
            groups: page.groups.into_iter().map(Group::from).collect(),
            next,
        })
    }
}

pub(super) struct Get;

impl Call for Get {
    const ID: &'static str = "get_group";
    const RIGHT: &'static str = "groups";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/groups/{gid}";
    const SUMMARY: &'static str = "Tells how many members a group has, and how many are online";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Group;

    async fn run(asked: Asked<'_, Self>) -> Result<Group, Failure> {
        let command = MembersCommand {
            group: asked.ids.group().to_owned(),
            ..MembersCommand::default()
        };
        Ok(asked.gateway.routers.group(&command).await?.into())
    }
}

pub(super) struct Delete;

impl Call for Delete {
    const ID: &'static str = "delete_group";
    const RIGHT: &'static str = "delete_group";
    const METHOD: Method = Method::DELETE;
    const PATH: &'static str = "/api/v1/groups/{gid}";
    const SUMMARY: &'static str = "Deletes a group: all its members leave at one place of its order";
    const ABOUT: &'static str = "Its clients are told, and get nothing that is sent to it later. What was stored for it stays, \
                                 until it is too old or `delete_history` is called. Who joins meanwhile may be a member \
                                 afterwards, or not.";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Deleted;

    async fn run(asked: Asked<'_, Self>) -> Result<Deleted, Failure> {
        let group = asked.ids.group();
        let origin = dedup::Origin::Api {
            name: asked.key,
            key: &fresh_key(),
        };
        let command = DeleteGroupCommand {
            group: group.to_owned(),
            dedup: dedup::id(origin, &Target::group(group)),
        };
        let done = asked.gateway.routers.delete_group(&command).await?;
        match done.sequence {
            0 => Err(Failure::new(ErrorCode::NotFound, "no such group")),
            _ => Ok(Deleted { members: done.count }),
        }
    }
}

#[derive(Deserialize, IntoParams)]
pub(super) struct Page {
    /// The `next` of the page before.
    #[param(value_type = Id, required = false)]
    after: Option<String>,
    /// 100 unless said.
    #[param(value_type = Limit, required = false)]
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// Hand it in as `after` for the next page. Absent: that was all.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Group {
    group: String,
    members: u32,
    online: u32,
}

impl From<GroupInfo> for Group {
    fn from(group: GroupInfo) -> Self {
        Self {
            group: group.group,
            members: group.members,
            online: group.online,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    /// How many it had.
    members: u64,
}
