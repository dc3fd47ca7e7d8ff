//! The table: pure, told events and the time.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use hashbrown::{HashMap, HashSet};
use herald_proto::{
    cluster::{ConnectionInfo, UserConnection, UserOnNode, UserPresence},
    id, limits,
};

use super::{LAPSE, POSTPONED, SILENCE};

type Id = Arc<str>;

#[derive(Debug, Default)]
pub struct Table {
    users: HashMap<Id, User>,
    nodes: HashMap<Id, Node>,
    /// When those who are offline were there last, in Unix milliseconds, as far as it is remembered.
    seen: HashMap<Id, u64>,
    online: usize,
    /// The routers whose leases stand, each with whether it was told since the bucket was last told anew.
    routers: BTreeMap<Id, bool>,
    /// Who has come online or gone offline since it was last asked; a user may stand here twice.
    changes: Vec<Id>,
    /// When something was last heard that proves that nodes can refresh their leases.
    heard: Option<Instant>,
    /// Until then a lease's end is not taken at its word.
    disturbed: Option<Instant>,
    /// What was not told again by then is gone.
    settle: Option<Instant>,
    /// The bucket has been told whole once.
    begun: bool,
    /// Whether `seen` is kept.
    remembers: bool,
}

#[derive(Debug, Default)]
struct User {
    keys: Vec<Key>,
    /// Over HTTP.
    sessions: Vec<Session>,
    online: bool,
}

/// It counts for as long as its key stands, for that ends by itself.
#[derive(Debug)]
struct Session {
    sid: Box<str>,
    since: u64,
    /// Told since the bucket was last told anew.
    told: bool,
}

#[derive(Debug)]
struct Key {
    node: Id,
    incarnation: Id,
    connections: u32,
    since: u64,
    infos: Box<[ConnectionInfo]>,
    /// Told since the bucket was last told anew.
    told: bool,
}

#[derive(Debug, Default)]
struct Node {
    lease: Lease,
    told: bool,
    /// The users with a key of whatever incarnation of this node.
    users: HashSet<Id>,
    /// Incarnations that may have keys and have no lease, since when.
    lapsed: HashMap<Id, Instant>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Lease {
    #[default]
    None,
    Stands(Id),
    /// Ended, and not believed before this.
    Ends(Id, Instant),
}

impl Lease {
    fn incarnation(&self) -> Option<&Id> {
        match self {
            Lease::None => None,
            Lease::Stands(incarnation) | Lease::Ends(incarnation, _) => Some(incarnation),
        }
    }

    fn counts(&self, incarnation: &str) -> bool {
        self.incarnation().is_some_and(|standing| **standing == *incarnation)
    }
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
            remembers,
            ..Self::default()
        }
    }

    // --- what the bucket says ---

    pub fn put_user(&mut self, user: &str, node: &str, incarnation: &str, value: &UserOnNode, now: Instant) {
        let user = intern(&self.users, user);
        let node = intern(&self.nodes, node);
        let entry = self.nodes.entry(node.clone()).or_default();
        entry.users.insert(user.clone());
        let incarnation = entry.name_of(incarnation);
        if !entry.lease.counts(&incarnation) {
            entry.lapsed.entry(incarnation.clone()).or_insert(now);
        }
        let key = Key {
            node,
            incarnation,
            connections: value.connections,
            since: value.since,
            infos: value.infos.clone().into(),
            told: true,
        };
        let keys = &mut self.users.entry(user.clone()).or_default().keys;
        match keys.iter_mut().find(|k| k.is_of(&key.node, &key.incarnation)) {
            Some(known) => *known = key,
            None => keys.push(key),
        }
        self.refresh(&user);
    }

    pub fn delete_user(&mut self, user: &str, node: &str, incarnation: &str) {
        self.drop_keys(user, |key| key.is_of(node, incarnation));
    }

    pub fn put_session(&mut self, user: &str, sid: &str, since: u64) {
        let user = intern(&self.users, user);
        let sessions = &mut self.users.entry(user.clone()).or_default().sessions;
        let session = Session {
            sid: sid.into(),
            since,
            told: true,
        };
        match sessions.iter_mut().find(|known| *known.sid == *sid) {
            Some(known) => *known = session,
            None => sessions.push(session),
        }
        self.refresh(&user);
    }

    pub fn delete_session(&mut self, user: &str, sid: &str) {
        self.drop_sessions(user, |session| *session.sid == *sid);
    }

    pub fn put_lease(&mut self, node: &str, incarnation: &str, now: Instant) {
        let node = intern(&self.nodes, node);
        let entry = self.nodes.entry(node.clone()).or_default();
        let incarnation = entry.name_of(incarnation);
        entry.told = true;
        entry.lapsed.remove(&incarnation);
        self.set_lease(&node, Lease::Stands(incarnation), now);
    }

    pub fn end_lease(&mut self, node: &str, now: Instant) {
        let Some(entry) = self.nodes.get(node) else { return };
        match entry.lease.clone() {
            Lease::Stands(incarnation) if self.is_disturbed(now) => {
                self.set_lease(node, Lease::Ends(incarnation, now + POSTPONED), now);
            }
            Lease::Stands(_) => self.set_lease(node, Lease::None, now),
            Lease::None | Lease::Ends(..) => {}
        }
    }

    pub fn put_router(&mut self, node: &str) {
        self.routers.insert(node.into(), true);
    }

    pub fn end_router(&mut self, node: &str) {
        self.routers.remove(node);
    }

    /// Somebody has written to the bucket.
    pub fn witness(&mut self, now: Instant) {
        if self.was_silent(now) {
            self.disturbed = Some(now + POSTPONED);
        }
        self.heard = Some(now);
    }

    pub fn seen(&mut self, user: &str, time: u64) {
        if !self.remembers {
            return;
        }
        let user = intern(&self.users, user);
        self.seen.insert(user, time);
    }

    pub fn forget_seen(&mut self, user: &str) {
        self.seen.remove(user);
    }

    /// The bucket is told anew. What stood before stands until its owners have had the time to put it back.
    pub fn reset(&mut self) {
        self.settle = None;
        self.heard = None;
        for node in self.nodes.values_mut() {
            node.told = false;
        }
        for told in self.routers.values_mut() {
            *told = false;
        }
        for user in self.users.values_mut() {
            user.keys.iter_mut().for_each(|key| key.told = false);
            user.sessions.iter_mut().for_each(|session| session.told = false);
        }
    }

    /// All that stood has been told.
    pub fn current(&mut self, now: Instant) {
        let again = std::mem::replace(&mut self.begun, true);
        self.heard = Some(now);
        let wait = if again {
            limits::LEASE
        } else {
            std::time::Duration::ZERO
        };
        self.disturbed = again.then(|| now + limits::LEASE);
        self.settle = Some(now + wait);
        self.tick(now);
    }

    /// What follows from the time alone.
    pub fn tick(&mut self, now: Instant) {
        if self.settle.is_some_and(|at| at <= now) {
            self.settle = None;
            self.drop_untold(now);
        }
        let ended = self.nodes.iter().filter_map(|(id, node)| match node.lease {
            Lease::Ends(_, until) if until <= now => Some(id.clone()),
            _ => None,
        });
        for node in ended.collect::<Vec<_>>() {
            self.set_lease(&node, Lease::None, now);
        }
    }

    // --- cleanup ---

    /// The incarnations that have been without a lease for long.
    pub fn lapsed(&self, now: Instant) -> Vec<Lapsed> {
        let lapsed = self.nodes.iter().flat_map(|(id, node)| {
            let long = node
                .lapsed
                .iter()
                .filter(move |(_, since)| now.duration_since(**since) >= LAPSE);
            long.map(move |(incarnation, _)| Lapsed {
                node: id.to_string(),
                incarnation: incarnation.to_string(),
            })
        });
        lapsed.collect()
    }

    /// Drops the keys of an incarnation.
    pub fn forget(&mut self, node: &str, incarnation: &str) {
        let Some(entry) = self.nodes.get_mut(node) else { return };
        entry.lapsed.remove(incarnation);
        let users: Vec<Id> = entry.users.iter().cloned().collect();
        for user in users {
            self.drop_keys(&user, |key| key.is_of(node, incarnation));
        }
        self.forget_node_if_empty(node);
    }

    /// Drops a user.
    pub fn forget_user(&mut self, user: &str) {
        self.drop_keys(user, |_| true);
        self.drop_sessions(user, |_| true);
        self.seen.remove(user);
        self.changes.retain(|changed| **changed != *user);
    }

    // --- questions ---

    /// Who has come online or gone offline since this was last asked.
    pub fn take_changes(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.changes)
    }

    pub fn is_online(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.online)
    }

    pub fn online_count(&self) -> usize {
        self.online
    }

    /// What one router is enough for is done by the first of them.
    pub fn is_first_router(&self, node: &str) -> bool {
        self.routers.keys().next().is_none_or(|first| **first == *node)
    }

    /// A user who is not known is offline.
    pub fn of(&self, user: &str) -> UserPresence {
        let mut presence = UserPresence {
            user: user.to_owned(),
            ..UserPresence::default()
        };
        match self.users.get(user).filter(|entry| entry.online) {
            Some(entry) => {
                presence.online = true;
                let connections = self.counting(entry).map(|key| key.connections);
                presence.connections = connections.sum();
                let of_keys = self.counting(entry).map(|key| key.since);
                let of_sessions = entry.sessions.iter().map(|session| session.since);
                presence.since = of_keys.chain(of_sessions).min().unwrap_or(0);
            }
            None => presence.last_seen = self.seen.get(user).copied().unwrap_or(0),
        }
        presence
    }

    /// Where a user is.
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
            key.infos.iter().map(|info| UserConnection {
                node: key.node.to_string(),
                info: Some(info.clone()),
            })
        });
        connections.collect()
    }

    // --- upkeep ---

    fn counting<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Key> {
        let nodes = &self.nodes;
        user.keys.iter().filter(|key| {
            nodes
                .get(&key.node)
                .is_some_and(|node| node.lease.counts(&key.incarnation))
        })
    }

    fn was_silent(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.duration_since(heard) > SILENCE)
    }

    fn is_disturbed(&self, now: Instant) -> bool {
        self.was_silent(now) || self.disturbed.is_some_and(|until| now < until)
    }

    fn set_lease(&mut self, node: &str, lease: Lease, now: Instant) {
        let Some(entry) = self.nodes.get_mut(node) else { return };
        let before = std::mem::replace(&mut entry.lease, lease);
        if before.incarnation() != entry.lease.incarnation() {
            if let Some(incarnation) = before.incarnation() {
                entry.lapsed.insert(incarnation.clone(), now);
            }
            let users: Vec<Id> = entry.users.iter().cloned().collect();
            for user in users {
                self.refresh(&user);
            }
        }
        self.forget_node_if_empty(node);
    }

    fn drop_untold(&mut self, now: Instant) {
        self.routers.retain(|_, told| *told);
        let users: Vec<Id> = self.users.keys().cloned().collect();
        for user in users {
            self.drop_keys(&user, |key| !key.told);
            self.drop_sessions(&user, |session| !session.told);
        }
        let nodes = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.told && node.lease != Lease::None);
        for node in nodes.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.set_lease(&node, Lease::None, now);
        }
    }

    fn drop_keys(&mut self, user: &str, gone: impl Fn(&Key) -> bool) {
        let Some((id, entry)) = self
            .users
            .get_key_value(user)
            .map(|(id, _)| id.clone())
            .zip(self.users.get_mut(user))
        else {
            return;
        };
        let dropped: Vec<Key> = entry.keys.extract_if(.., |key| gone(key)).collect();
        if dropped.is_empty() {
            return;
        }
        let left: HashSet<Id> = entry.keys.iter().map(|key| key.node.clone()).collect();
        for key in dropped {
            if !left.contains(&key.node)
                && let Some(node) = self.nodes.get_mut(&key.node)
            {
                node.users.remove(&id);
                self.forget_node_if_empty(&key.node);
            }
        }
        self.refresh(&id);
        self.forget_if_nowhere(&id);
    }

    fn drop_sessions(&mut self, user: &str, gone: impl Fn(&Session) -> bool) {
        let Some((id, entry)) = self
            .users
            .get_key_value(user)
            .map(|(id, _)| id.clone())
            .zip(self.users.get_mut(user))
        else {
            return;
        };
        entry.sessions.retain(|session| !gone(session));
        self.refresh(&id);
        self.forget_if_nowhere(&id);
    }

    fn forget_if_nowhere(&mut self, user: &Id) {
        let nowhere = |entry: &User| entry.keys.is_empty() && entry.sessions.is_empty();
        if self.users.get(user).is_some_and(nowhere) {
            self.users.remove(user);
        }
    }

    /// Brings `online` in line with keys and leases.
    fn refresh(&mut self, user: &Id) {
        let Some(entry) = self.users.get(user) else { return };
        let online = !entry.sessions.is_empty() || self.counting(entry).next().is_some();
        if online == entry.online {
            return;
        }
        if let Some(entry) = self.users.get_mut(user) {
            entry.online = online;
        }
        if online {
            self.online += 1;
        } else {
            self.online -= 1;
            self.seen(user, id::now_ms());
        }
        self.changes.push(user.clone());
    }

    fn forget_node_if_empty(&mut self, node: &str) {
        if let Some(entry) = self.nodes.get(node)
            && entry.lease == Lease::None
            && entry.users.is_empty()
        {
            self.nodes.remove(node);
        }
    }
}

impl Key {
    fn is_of(&self, node: &str, incarnation: &str) -> bool {
        *self.node == *node && *self.incarnation == *incarnation
    }
}

impl Node {
    /// One allocation for an incarnation's name, however many keys hold it.
    fn name_of(&self, incarnation: &str) -> Id {
        let standing = self.lease.incarnation().filter(|name| ***name == *incarnation);
        let lapsed = || self.lapsed.get_key_value(incarnation).map(|(name, _)| name);
        standing.or_else(lapsed).cloned().unwrap_or_else(|| incarnation.into())
    }
}

/// One allocation for an id, however many tables hold it.
fn intern<T>(table: &HashMap<Id, T>, id: &str) -> Id {
    match table.get_key_value(id) {
        Some((id, _)) => id.clone(),
        None => id.into(),
    }
}

#[cfg(test)]
mod tests;
