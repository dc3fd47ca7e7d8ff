//! `presence` and `user`: who is online, answered from memory. `replace`: a connection makes way for a newer one.

use herald_proto::{
    Target,
    cluster::{Done, Presence, PresenceCommand, ReplaceCommand, User, UserCommand, control::Order, reply},
    id, limits,
};

use super::Router;
use crate::{failure::Failure, policy::Scope};

/// Users that the directory calls strangers and that are asked of at the leader.
const HIDDEN_TRIED: usize = 4;

impl Router {
    pub(super) async fn presence(&self, command: PresenceCommand) -> Result<reply::Reply, Failure> {
        let viewer = command.sender.unwrap_or_default().user;
        let presence = match &command.group {
            Some(group) => self.presence_of_group(viewer.as_deref(), group).await?,
            None => self.presence_of_users(viewer.as_deref(), command.users).await?,
        };
        Ok(reply::Reply::Presence(presence))
    }

    async fn presence_of_group(&self, viewer: Option<&str>, group: &str) -> Result<Presence, Failure> {
        id::check("group", group)?;
        // The application and, where everybody may see everybody, all others need not belong to it.
        let open = viewer.is_none() || self.policy().visibility == Scope::All;
        if let (Some(viewer), false) = (viewer, open)
            && !self.is_member(group, viewer).await?
        {
            return Err(Failure::forbidden(format!("not a member of {group}")));
        }
        if !self.policy().sees_members(viewer) {
            return Ok(Presence::default());
        }
        Ok(self.directory.read().group_presence(group, limits::USERS_PER_QUERY))
    }

    async fn presence_of_users(&self, viewer: Option<&str>, users: Vec<String>) -> Result<Presence, Failure> {
        if users.is_empty() || users.len() > limits::USERS_PER_QUERY {
            let most = limits::USERS_PER_QUERY;
            return Err(Failure::bad_request(format!("\"users\" must name 1 to {most} users")));
        }
        for user in &users {
            id::check("user", user)?;
        }
        let mut presence = Presence {
            users: Vec::with_capacity(users.len()),
            restricted: viewer.is_some() && self.policy().visibility == Scope::Groups,
            ..Presence::default()
        };
        let mut hidden = Vec::new();
        {
            let directory = self.directory.read();
            for user in users {
                if self.policy().sees_user(&directory, viewer, &user) {
                    presence.users.push(directory.presence().of(user));
                } else {
                    hidden.push(user);
                }
            }
        }
        if let (Some(viewer), Scope::Groups) = (viewer, self.policy().visibility) {
            let late = self.visible_latest(viewer, hidden).await?;
            let directory = self.directory.read();
            let late = late.into_iter().map(|user| directory.presence().of(user));
            presence.users.extend(late);
        }
        Ok(presence)
    }

    /// Reads follow writes: who shares a group by what the leader knows, though the directory does not know it yet. A few
    /// only: who asks for many that it may not see must not cost as many requests.
    async fn visible_latest(&self, viewer: &str, hidden: Vec<String>) -> Result<Vec<String>, Failure> {
        let mut visible = Vec::new();
        for user in hidden.into_iter().take(HIDDEN_TRIED) {
            if self.share_group_latest(viewer, &user).await? {
                visible.push(user);
            }
        }
        Ok(visible)
    }

    pub(super) async fn user(&self, command: UserCommand) -> Result<reply::Reply, Failure> {
        id::check("user", &command.user)?;
        let directory = self.directory.read();
        Ok(reply::Reply::User(User {
            presence: Some(directory.presence().of(command.user.clone())),
            connections: directory.presence().connections(&command.user, ""),
            groups: directory.groups_of(&command.user),
        }))
    }

    pub(super) async fn replace(&self, command: ReplaceCommand) -> Result<reply::Reply, Failure> {
        id::check("user", &command.user)?;
        let mut sequence = 0;
        for (i, replace) in command.replaces.into_iter().enumerate() {
            let dedup = format!("{}.{i}", command.dedup);
            sequence = self
                .order(&Target::user(command.user.as_str()), Order::Replace(replace), &dedup)
                .await?
                .sequence;
        }
        Ok(reply::Reply::Done(Done {
            sequence,
            ..Done::default()
        }))
    }
}
