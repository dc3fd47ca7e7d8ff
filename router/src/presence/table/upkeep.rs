//! What keeps users, nodes and who is online in line with each other.

use std::time::Instant;

use super::{
    Change, Id, Table, counting,
    node::Lease,
    user::{Key, Session},
};

impl Table {
    /// Drops the keys of an incarnation.
    pub fn forget(&mut self, node: &str, incarnation: &str) {
        let Some(entry) = self.nodes.get_mut(node) else { return };
        entry.forget_lapsed(incarnation);
        let (users, alive) = (Vec::from_iter(entry.users.iter().cloned()), entry.alive);
        for user in users {
            self.drop_keys(&user, alive, |key| key.is_of(node, incarnation));
        }
        self.forget_node_if_empty(node);
    }

    /// Drops a user.
    pub fn forget_user(&mut self, user: &str) {
        self.drop_keys(user, 0, |_| true);
        self.drop_sessions(user, 0, |_| true);
        self.seen.forget(user);
        self.changes.retain(|change| *change.user != *user);
    }

    pub(super) fn set_lease(&mut self, node: &str, lease: Lease, now: Instant) {
        let Some(entry) = self.nodes.get_mut(node) else { return };
        let before = std::mem::replace(&mut entry.lease, lease);
        if before.incarnation() != entry.lease.incarnation() {
            if let Some(incarnation) = before.incarnation() {
                entry.lapses(incarnation, now);
            }
            // What follows does not ask for them.
            let (users, alive) = (std::mem::take(&mut entry.users), entry.alive);
            self.changes.reserve(users.len());
            for user in &users {
                self.refresh(user, alive);
            }
            if let Some(entry) = self.nodes.get_mut(node) {
                entry.users = users;
            }
        }
        self.forget_node_if_empty(node);
    }

    /// `time`: when the user was last seen, should it be offline by this.
    pub(super) fn drop_keys(&mut self, user: &str, time: u64, gone: impl Fn(&Key) -> bool) {
        let Some((id, entry)) = self.users.get_key_value_mut(user) else {
            return;
        };
        let id = id.clone();
        let dropped: Vec<Key> = entry.keys.extract_if(.., |key| gone(key)).collect();
        if dropped.is_empty() {
            return;
        }
        for key in dropped.iter().filter(|key| !entry.is_on(&key.node)) {
            if let Some(node) = self.nodes.get_mut(&key.node) {
                node.users.remove(&id);
                if node.is_empty() {
                    self.nodes.remove(&key.node);
                }
            }
        }
        self.refresh(&id, time);
        self.forget_if_nowhere(&id);
    }

    /// `time`: as for [`Self::drop_keys`].
    pub(super) fn drop_sessions(&mut self, user: &str, time: u64, gone: impl Fn(&Session) -> bool) {
        let Some((id, entry)) = self.users.get_key_value_mut(user) else {
            return;
        };
        let id = id.clone();
        self.sessions -= entry.drop_sessions(gone);
        self.refresh(&id, time);
        self.forget_if_nowhere(&id);
    }

    /// Brings `online` in line with keys, leases and sessions. Who goes offline by it was last seen at `time`, or since
    /// when the newest of its keys says that it was there.
    pub(super) fn refresh(&mut self, user: &Id, time: u64) {
        let Some(entry) = self.users.get_mut(user) else { return };
        let mut counting = counting(&self.nodes, &entry.keys);
        let online = !entry.sessions().is_empty() || counting.next().is_some();
        if online == std::mem::replace(&mut entry.online, online) {
            return;
        }
        if online {
            self.online += 1;
        } else {
            self.online -= 1;
            self.seen.note(user, time.max(entry.newest()));
        }
        self.changes.push(Change {
            user: user.clone(),
            online,
        });
    }

    fn forget_if_nowhere(&mut self, user: &Id) {
        if self.users.get(user).is_some_and(|entry| entry.is_nowhere()) {
            self.users.remove(user);
        }
    }

    fn forget_node_if_empty(&mut self, node: &str) {
        if self.nodes.get(node).is_some_and(|entry| entry.is_empty()) {
            self.nodes.remove(node);
        }
    }
}
