//! Who is where, in memory: users with their presences and groups, groups with their members, nodes with their leases.
//!
//! Pure and synchronous. [`crate::watches`] feeds it from the buckets; every question of the router is answered from it.
//! A presence counts only while the lease of its node's incarnation stands, so that a crashed node's users go offline
//! with one event, and deleting their keys is mere cleanup.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use herald_proto::cluster::GroupMembership;

type Id = Arc<str>;

/// Far more than can be left within the milliseconds that a watch is behind.
const LEFT_AT_MOST: usize = 16_384;

#[derive(Debug, Default)]
pub struct Directory {
    users: HashMap<Id, User>,
    groups: HashMap<Id, Group>,
    nodes: HashMap<Id, Node>,
    online: usize,
    /// Who has left which group, by whose word is ahead of the bucket's watch; with the offset of the change. Gone as
    /// soon as the watch says so too.
    left: HashMap<(Id, Id), u64>,
}

#[derive(Debug, Default)]
struct User {
    presences: Vec<Presence>,
    /// Each with the offset from which on the membership counts.
    groups: HashMap<Id, u64>,
    online: bool,
}

#[derive(Debug)]
struct Presence {
    node: Id,
    incarnation: Id,
}

#[derive(Debug, Default)]
struct Group {
    members: HashSet<Id>,
    online: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// The incarnation whose lease stands.
    lease: Option<Id>,
    /// The users with a presence of whatever incarnation of this node.
    users: HashSet<Id>,
}

impl Directory {
    // --- what the buckets say ---

    pub fn put_presence(&mut self, user: &str, node: &str, incarnation: &str) {
        let user = self.user_id(user);
        let node = self.node_id(node);
        let entry = self.users.entry(user.clone()).or_default();
        let known = entry
            .presences
            .iter()
            .any(|p| p.node == node && *p.incarnation == *incarnation);
        if !known {
            entry.presences.push(Presence {
                node: node.clone(),
                incarnation: incarnation.into(),
            });
            self.nodes.entry(node).or_default().users.insert(user.clone());
        }
        self.refresh(&user);
    }

    pub fn delete_presence(&mut self, user: &str, node: &str, incarnation: &str) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        entry
            .presences
            .retain(|p| *p.node != *node || *p.incarnation != *incarnation);
        if !entry.presences.iter().any(|p| *p.node == *node)
            && let Some(node) = self.nodes.get_mut(node)
        {
            node.users.remove(user);
        }
        self.forget_node_if_empty(node);
        self.refresh(user);
        self.forget_if_empty(user);
    }

    pub fn put_lease(&mut self, node: &str, incarnation: &str) {
        self.set_lease(node, Some(incarnation.into()));
    }

    pub fn end_lease(&mut self, node: &str) {
        self.set_lease(node, None);
    }

    fn set_lease(&mut self, node: &str, lease: Option<Id>) {
        let node = self.node_id(node);
        let entry = self.nodes.entry(node.clone()).or_default();
        if entry.lease != lease {
            entry.lease = lease;
            let users: Vec<Id> = entry.users.iter().cloned().collect();
            for user in users {
                self.refresh(&user);
            }
        }
        self.forget_node_if_empty(&node);
    }

    pub fn put_member(&mut self, group: &str, user: &str, from_sequence: u64) {
        let user = self.user_id(user);
        let group = match self.groups.get_key_value(group) {
            Some((id, _)) => id.clone(),
            None => Id::from(group),
        };
        let newer = |left: &u64| *left > from_sequence;
        if self.left.get(&(group.clone(), user.clone())).is_some_and(newer) {
            return;
        }
        let entry = self.users.entry(user.clone()).or_default();
        if entry.groups.insert(group.clone(), from_sequence).is_none() {
            let online = entry.online;
            let group = self.groups.entry(group).or_default();
            group.members.insert(user);
            group.online += usize::from(online);
        }
    }

    /// The user has left by the change at `sequence`; older news of its membership no longer counts.
    pub fn leave(&mut self, group: &str, user: &str, sequence: u64) {
        self.remove_member(group, user);
        // Those whose key was seen to go before this was heard stay: they say nothing new, and must not fill the memory.
        if self.left.len() >= LEFT_AT_MOST {
            self.left.clear();
        }
        self.left.insert((group.into(), user.into()), sequence);
    }

    /// The watch says that the key is gone.
    pub fn delete_member(&mut self, group: &str, user: &str) {
        self.left.remove(&(group.into(), user.into()));
        self.remove_member(group, user);
    }

    fn remove_member(&mut self, group: &str, user: &str) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        if entry.groups.remove(group).is_some() {
            let online = entry.online;
            if let Some(entry) = self.groups.get_mut(group) {
                entry.members.remove(user);
                entry.online -= usize::from(online);
                if entry.members.is_empty() {
                    self.groups.remove(group);
                }
            }
        }
        self.forget_if_empty(user);
    }

    /// The presence bucket is told anew.
    pub fn reset_presence(&mut self) {
        self.nodes.clear();
        self.online = 0;
        for user in self.users.values_mut() {
            user.presences.clear();
            user.online = false;
        }
        for group in self.groups.values_mut() {
            group.online = 0;
        }
        self.users.retain(|_, user| !user.groups.is_empty());
    }

    /// The bucket of groups is told anew.
    pub fn reset_groups(&mut self) {
        self.groups.clear();
        self.left.clear();
        for user in self.users.values_mut() {
            user.groups.clear();
        }
        self.users.retain(|_, user| !user.presences.is_empty());
    }

    // --- questions ---

    pub fn is_online(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|u| u.online)
    }

    pub fn anyone_online(&self) -> bool {
        self.online > 0
    }

    pub fn online_count(&self) -> usize {
        self.online
    }

    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether a member of `group` other than `except` is online.
    pub fn others_online(&self, group: &str, except: Option<&str>) -> bool {
        let Some(group) = self.groups.get(group) else {
            return false;
        };
        let own = except.is_some_and(|user| group.members.contains(user) && self.is_online(user));
        group.online > usize::from(own)
    }

    pub fn is_member(&self, group: &str, user: &str) -> bool {
        self.users.get(user).is_some_and(|u| u.groups.contains_key(group))
    }

    pub fn groups_of(&self, user: &str) -> Vec<String> {
        let Some(user) = self.users.get(user) else {
            return Vec::new();
        };
        let mut groups: Vec<String> = user.groups.keys().map(ToString::to_string).collect();
        groups.sort_unstable();
        groups
    }

    /// A user's groups, each with the offset from which on the membership counts.
    pub fn memberships(&self, user: &str) -> impl Iterator<Item = GroupMembership> {
        let groups = self.users.get(user).map(|user| user.groups.iter());
        groups.into_iter().flatten().map(|(group, from)| GroupMembership {
            group: group.to_string(),
            from_sequence: *from,
        })
    }

    pub fn group_count_of(&self, user: &str) -> usize {
        self.users.get(user).map_or(0, |u| u.groups.len())
    }

    pub fn share_group(&self, a: &str, b: &str) -> bool {
        match (self.users.get(a), self.users.get(b)) {
            (Some(a), Some(b)) => a.groups.keys().any(|group| b.groups.contains_key(group)),
            _ => false,
        }
    }

    // --- upkeep ---

    /// One allocation for an id, however many tables hold it.
    fn user_id(&self, user: &str) -> Id {
        match self.users.get_key_value(user) {
            Some((id, _)) => id.clone(),
            None => user.into(),
        }
    }

    fn node_id(&self, node: &str) -> Id {
        match self.nodes.get_key_value(node) {
            Some((id, _)) => id.clone(),
            None => node.into(),
        }
    }

    /// Brings `online` and the counts that follow from it in line with presences and leases.
    fn refresh(&mut self, user: &str) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let nodes = &self.nodes;
        let online = entry.presences.iter().any(|p| {
            nodes
                .get(&p.node)
                .is_some_and(|node| node.lease.as_ref() == Some(&p.incarnation))
        });
        if online == entry.online {
            return;
        }
        entry.online = online;
        let step = |count: &mut usize| if online { *count += 1 } else { *count -= 1 };
        step(&mut self.online);
        for group in entry.groups.keys() {
            if let Some(group) = self.groups.get_mut(group) {
                step(&mut group.online);
            }
        }
    }

    fn forget_node_if_empty(&mut self, node: &str) {
        if let Some(entry) = self.nodes.get(node)
            && entry.lease.is_none()
            && entry.users.is_empty()
        {
            self.nodes.remove(node);
        }
    }

    fn forget_if_empty(&mut self, user: &str) {
        if let Some(entry) = self.users.get(user)
            && entry.presences.is_empty()
            && entry.groups.is_empty()
        {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests;
