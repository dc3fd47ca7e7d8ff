//! The table: pure, told events and the time.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use hashbrown::{HashMap, hash_map::EntryRef};
use herald_proto::cluster::{self, UserConnection, UserPresence};

use super::LAPSE;
use node::Node;
use seen::Seen;
use user::{Key, User};

mod bucket;
mod node;
mod seen;
mod time;
mod upkeep;
mod user;

type Id = Arc<str>;

#[derive(Debug, Default)]
pub struct Table {
    users: HashMap<Id, User>,
    nodes: HashMap<Id, Node>,
    seen: Seen,
    online: usize,
    /// The routers whose leases stand.
    routers: BTreeMap<Id, Router>,
    /// Over HTTP, of all users.
    sessions: usize,
    /// Since they were last asked for.
    changes: Vec<Change>,
    clock: time::Clock,
}

#[derive(Debug)]
struct Router {
    /// Since the bucket was last told anew.
    told: bool,
    /// When its lease was refreshed last, in Unix milliseconds.
    alive: u64,
}

/// A user has come online, or gone offline, or of one who is offline it became known when it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub user: Id,
    pub online: bool,
}

/// An incarnation whose keys can be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapsed {
    pub node: String,
    pub incarnation: String,
}

impl Table {
    /// `remembers`: when those who are offline were there last.
    pub fn new(remembers: bool) -> Self {
        Self {
            seen: Seen::new(remembers),
            ..Self::default()
        }
    }

    // --- questions ---

    /// What has changed since this was last asked, in its order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub fn is_online(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.online)
    }

    /// As it is held here already.
    pub fn id_of(&self, user: &str) -> Option<&Id> {
        self.users.get_key_value(user).map(|(id, _)| id)
    }

    pub fn online_count(&self) -> usize {
        self.online
    }

    pub fn session_count(&self) -> usize {
        self.sessions
    }

    /// What one router is enough for is done by the first of them.
    pub fn is_first_router(&self, node: &str) -> bool {
        self.routers.keys().next().is_none_or(|first| **first == *node)
    }

    /// The gateways whose leases count, each with when it was refreshed last, and the routers.
    pub fn nodes(&self) -> Vec<cluster::Node> {
        let gateways = self.nodes.iter().filter(|(_, node)| node.lease.incarnation().is_some());
        let gateways = gateways.map(|(id, node)| (id, false, node.alive));
        let routers = self.routers.iter().map(|(id, router)| (id, true, router.alive));
        let node = |(id, router, alive): (&Id, bool, u64)| cluster::Node {
            id: id.to_string(),
            router,
            alive,
        };
        gateways.chain(routers).map(node).collect()
    }

    /// A user who is not known is offline.
    pub fn of(&self, user: String) -> UserPresence {
        let mut presence = UserPresence::default();
        match self.users.get(&*user).filter(|entry| entry.online) {
            Some(entry) => {
                presence.online = true;
                (presence.connections, presence.since) = self.counted(entry);
            }
            None => presence.last_seen = self.seen.of(&user),
        }
        presence.user = user;
        presence
    }

    /// Since when one who is online is, in Unix milliseconds.
    pub fn since(&self, user: &str) -> u64 {
        let entry = self.users.get(user).filter(|entry| entry.online);
        entry.map_or(0, |entry| self.counted(entry).1)
    }

    /// When one who is offline was there last; 0: not known.
    pub fn last_seen(&self, user: &str) -> u64 {
        self.seen.of(user)
    }

    /// Whether the bucket has been told whole once.
    pub fn has_begun(&self) -> bool {
        !self.clock.begins()
    }

    /// What is to be written down of one who is offline: when it was last seen.
    pub fn unwritten(&self, user: &str) -> Option<u64> {
        self.seen.unwritten(user)
    }

    /// Where a user is connected.
    pub fn nodes_of(&self, user: &str) -> Vec<Arc<str>> {
        let keys = self.users.get(user).map(|entry| self.counting(entry));
        keys.into_iter().flatten().map(|key| key.node.clone()).collect()
    }

    /// A user's connections, those of `except` left out.
    pub fn connections(&self, user: &str, except: &str) -> Vec<UserConnection> {
        let Some(entry) = self.users.get(user) else {
            return Vec::new();
        };
        let keys = self.counting(entry).filter(|key| *key.node != *except);
        let connections = keys.flat_map(|key| {
            key.infos().into_iter().map(|info| UserConnection {
                node: key.node.to_string(),
                info: Some(info),
            })
        });
        connections.collect()
    }

    /// The incarnations that have been without a lease for long.
    pub fn lapsed(&self, now: Instant) -> Vec<Lapsed> {
        let lapsed = self.nodes.iter().flat_map(|(id, node)| {
            node.lapsed_for(LAPSE, now).map(|incarnation| Lapsed {
                node: id.to_string(),
                incarnation: incarnation.to_string(),
            })
        });
        lapsed.collect()
    }

    /// How many connections one who is online has, and since when.
    fn counted(&self, user: &User) -> (u32, u64) {
        let of_sessions = user.sessions().iter().map(|session| session.since);
        let begun = (0, of_sessions.min().unwrap_or(u64::MAX));
        self.counting(user).fold(begun, |(connections, since), key| {
            (connections + key.connections, since.min(key.since))
        })
    }

    fn counting<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Key> {
        counting(&self.nodes, &user.keys)
    }
}

/// Of a user's keys those whose incarnations have a lease.
fn counting<'a>(nodes: &'a HashMap<Id, Node>, keys: &'a [Key]) -> impl Iterator<Item = &'a Key> {
    keys.iter().filter(|key| {
        let node = nodes.get(&key.node);
        node.is_some_and(|node| node.lease.counts(&key.incarnation))
    })
}

/// One allocation for an id, however many tables hold it.
fn entry<'a, T: Default>(table: &'a mut HashMap<Id, T>, id: &str) -> (Id, &'a mut T) {
    let entry = match table.entry_ref(id) {
        EntryRef::Occupied(entry) => entry,
        EntryRef::Vacant(entry) => entry.insert_entry_with_key(id.into(), T::default()),
    };
    (entry.key().clone(), entry.into_mut())
}

#[cfg(test)]
mod tests;
