//! What the application may list: who is online, groups, their members, and the nodes. Answered from memory, by name, so that
//! any router can give the next page.

use herald_proto::{
    ErrorCode,
    cluster::{GroupInfo, GroupPage, MembersCommand, Nodes, NodesCommand, PageCommand, UserPage, reply},
    id, limits, subject,
};

use super::Router;
use crate::{bus::Bucket, failure::Failure};

impl Router {
    pub(super) async fn users(&self, command: PageCommand) -> Result<reply::Reply, Failure> {
        let limit = limit(command.limit)?;
        let page = self.directory.read().users_online(&command.after, limit);
        Ok(reply::Reply::Users(page))
    }

    pub(super) async fn groups(&self, command: PageCommand) -> Result<reply::Reply, Failure> {
        let limit = limit(command.limit)?;
        let page = self.directory.read().group_page(&command.after, limit);
        Ok(reply::Reply::Page(page))
    }

    pub(super) async fn members(&self, command: MembersCommand) -> Result<reply::Reply, Failure> {
        id::check("group", &command.group)?;
        let limit = limit(command.limit)?;
        let MembersCommand {
            group, online, after, ..
        } = command;
        let known = self.directory.read().members(&group, online, &after, limit);
        match known {
            Some(page) => Ok(reply::Reply::Users(page)),
            None => {
                let members = self.members_latest(&group).await?;
                Ok(reply::Reply::Users(self.page_of(members, online, &after, limit)))
            }
        }
    }

    /// How many belong to the group that the command names, and how many of them are online.
    pub(super) async fn group(&self, command: MembersCommand) -> Result<reply::Reply, Failure> {
        id::check("group", &command.group)?;
        let group = command.group;
        let known = self.directory.read().group_info(&group);
        let info = match known {
            Some(info) => info,
            None => {
                let members = self.members_latest(&group).await?;
                let directory = self.directory.read();
                let online = members.iter().filter(|user| directory.is_online(user)).count();
                GroupInfo {
                    group,
                    members: u32::try_from(members.len()).unwrap_or(u32::MAX),
                    online: u32::try_from(online).unwrap_or(u32::MAX),
                }
            }
        };
        let (groups, more) = (vec![info], false);
        Ok(reply::Reply::Page(GroupPage { groups, more }))
    }

    pub(super) async fn nodes(&self, _: NodesCommand) -> Result<reply::Reply, Failure> {
        let nodes = self.directory.read().presence().nodes();
        Ok(reply::Reply::Nodes(Nodes { nodes }))
    }

    /// Reads follow writes: before anybody is told that a group has no members, the bucket is asked.
    async fn members_latest(&self, group: &str) -> Result<Vec<String>, Failure> {
        let prefix = subject::key(&[group]);
        let found = self.bus.kv.select(Bucket::Groups, &[prefix]).await?;
        let members = found.entries.iter().filter_map(|(key, _)| {
            let [_, user]: [String; 2] = subject::split_key(key)?.try_into().ok()?;
            Some(user)
        });
        let mut members: Vec<String> = members.collect();
        if members.is_empty() {
            return Err(Failure::new(ErrorCode::NotFound, format!("no group {group}")));
        }
        members.sort_unstable();
        Ok(members)
    }

    fn page_of(&self, members: Vec<String>, online: bool, after: &str, limit: usize) -> UserPage {
        let directory = self.directory.read();
        let mut rest = members
            .into_iter()
            .filter(|user| **user > *after && (!online || directory.is_online(user)));
        let users = rest.by_ref().take(limit);
        UserPage {
            users: users.map(|user| directory.presence().of(user)).collect(),
            more: rest.next().is_some(),
        }
    }
}

fn limit(asked: u32) -> Result<usize, Failure> {
    match asked {
        1..=limits::PAGE_MAX => Ok(asked as usize),
        _ => Err(Failure::bad_request(format!("limit must be 1 to {}", limits::PAGE_MAX))),
    }
}
