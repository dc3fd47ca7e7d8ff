//! Presence, both ways: the objects of `presence`, `watch` and `unwatch`, of their answers and of the push.

use serde::{Deserialize, Serialize, Serializer};

use crate::event::{Command, Presence, PresenceQuery, UserPresence, checked_users};

// --- in ---

#[derive(Deserialize)]
pub(super) struct PresenceVerb {
    users: Option<Vec<String>>,
    group: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct UsersVerb {
    users: Vec<String>,
}

pub(super) fn query(verb: PresenceVerb) -> Command {
    PresenceQuery::new(verb.users, verb.group).map_or_else(Command::Faulty, Command::Presence)
}

pub(super) fn watch(verb: UsersVerb) -> Command {
    checked_users(verb.users).map_or_else(Command::Faulty, |users| Command::Watch { users })
}

pub(super) fn unwatch(verb: UsersVerb) -> Command {
    checked_users(verb.users).map_or_else(Command::Faulty, |users| Command::Unwatch { users })
}

// --- out ---

type User = (String, UserPresence);

/// The answer to `presence`, and with `users` alone that to `watch` and `unwatch`.
#[derive(Serialize)]
pub(super) struct PresenceOut<'a> {
    #[serde(serialize_with = "by_name")]
    users: &'a [User],
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<u32>,
}

#[derive(Serialize)]
struct UserOut {
    online: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct ChangeOut<'a> {
    pub user: &'a str,
    pub online: bool,
    pub since: u64,
}

fn by_name<S: Serializer>(users: &[User], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(users.iter().map(|(user, presence)| {
        let &UserPresence {
            online,
            connections,
            since,
            last_seen,
        } = presence;
        let out = UserOut {
            online,
            connections,
            since,
            last_seen,
        };
        (user, out)
    }))
}

pub(super) fn presence(presence: &Presence) -> PresenceOut<'_> {
    PresenceOut {
        users: &presence.users,
        online: presence.online,
        members: presence.members,
    }
}

pub(super) fn watching(users: &[User]) -> PresenceOut<'_> {
    PresenceOut {
        users,
        online: None,
        members: None,
    }
}

impl PresenceOut<'_> {
    /// Room for the frame: 80 bytes are what a user's fields take beside the name.
    pub fn expected(&self) -> usize {
        self.users.iter().map(|(user, _)| user.len() + 80).sum::<usize>() + 96
    }
}
