//! Who is where, in memory: users with their groups, groups with their members, and the table of who is online.
//!
//! Pure and synchronous. [`crate::watches`] feeds it from the buckets; every question of the router is answered from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use hashbrown::HashMap;
use herald_proto::cluster::{GroupInfo, GroupMembership, GroupPage, Presence, UserPage, UserPresence};
use litemap::LiteMap;

use crate::presence::{Change, Table};

type Id = Arc<str>;

/// Far more than can be left within the milliseconds that a watch is behind.
const LEFT_AT_MOST: usize = 16_384;
/// The same for groups that were deleted.
const DELETED_AT_MOST: usize = 1_024;

#[derive(Debug)]
pub struct Directory {
    users: HashMap<Id, User>,
    /// In order, as they are listed.
    groups: BTreeMap<Id, Group>,
    presence: Table,
    /// Who is online, in order.
    online: BTreeSet<Id>,
    /// Who has gone offline since this was last asked.
    gone: Vec<Id>,
    /// Who has turned since this was last asked; None: nobody asks.
    turns: Option<Vec<Turn>>,
    /// Who has left which group, by whose word is ahead of the bucket's watch; with the offset of the change. Gone as
    /// soon as the watch says so too.
    left: HashMap<(Id, Id), u64>,
    /// Up to which revision of the bucket of groups the watch has told all.
    told: u64,
    /// Which groups were deleted of late, with the offset of the deletion: what began before it counts no more.
    deleted: HashMap<Id, u64>,
}

/// A user has come online, or gone offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub user: Id,
    pub online: bool,
    /// Since when, or when it was last seen; 0 where that is not known. Unix milliseconds.
    pub since: u64,
}

impl Directory {
    /// `remembers`: when those who are offline were there last.
    pub fn new(remembers: bool) -> Self {
        Self {
            users: HashMap::new(),
            groups: BTreeMap::new(),
            presence: Table::new(remembers),
            online: BTreeSet::new(),
            gone: Vec::new(),
            turns: None,
            left: HashMap::new(),
            told: 0,
            deleted: HashMap::new(),
        }
    }
}

#[derive(Debug)]
struct User {
    /// Each with the offset from which on the membership counts. Never empty.
    groups: LiteMap<Id, u64>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            // Most are in one group: the first growth would make room for four.
            groups: LiteMap::with_capacity(1),
        }
    }
}

#[derive(Debug, Default)]
struct Group {
    members: BTreeSet<Id>,
    /// Those of them who are online.
    online: BTreeSet<Id>,
}

impl Group {
    fn info(&self, group: &str) -> GroupInfo {
        GroupInfo {
            group: group.to_owned(),
            members: count(self.members.len()),
            online: count(self.online.len()),
        }
    }
}

impl Directory {
    // --- what the buckets say ---

    /// Tells the table of presences something, and follows what changes by it.
    pub fn presence_mut<T>(&mut self, act: impl FnOnce(&mut Table) -> T) -> T {
        // What a table that begins is told has happened before.
        let begun = self.presence.has_begun();
        let told = act(&mut self.presence);
        for change in self.presence.take_changes() {
            if self.recount(&change) && begun {
                self.note_turn(&change);
            }
            if !change.online {
                self.gone.push(change.user);
            }
        }
        told
    }

    pub fn take_gone(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.gone)
    }

    /// From now on turns are kept for whoever takes them.
    pub fn note_turns(&mut self) {
        self.turns.get_or_insert_default();
    }

    pub fn take_turns(&mut self) -> Vec<Turn> {
        self.turns.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note_turn(&mut self, change: &Change) {
        if let Some(turns) = &mut self.turns {
            turns.push(Turn {
                user: change.user.clone(),
                online: change.online,
                since: match change.online {
                    true => self.presence.since(&change.user),
                    false => self.presence.last_seen(&change.user),
                },
            });
        }
    }

    /// The watch has come to this revision.
    pub fn groups_told(&mut self, revision: u64) {
        self.told = self.told.max(revision);
    }

    /// As [`Self::put_member`], by who has written it at `revision`, and may come late: what the watch has told since counts.
    pub fn put_member_ahead(&mut self, group: &str, user: &str, from_sequence: u64, revision: u64) {
        if revision > self.told {
            self.put_member(group, user, from_sequence);
        }
    }

    pub fn put_member(&mut self, group: &str, user: &str, from_sequence: u64) {
        let user = self.user_id(user);
        let group = match self.groups.get_key_value(group) {
            Some((id, _)) => id.clone(),
            None => Id::from(group),
        };
        let newer = |left: &u64| *left > from_sequence;
        if self.left.get(&(group.clone(), user.clone())).is_some_and(newer)
            || self.deleted.get(&group).is_some_and(newer)
        {
            return;
        }
        let entry = self.users.entry(user.clone()).or_default();
        if entry.groups.insert(group.clone(), from_sequence).is_none() {
            let group = self.groups.entry(group).or_default();
            if self.presence.is_online(&user) {
                group.online.insert(user.clone());
            }
            group.members.insert(user);
        }
    }

    /// The user has left by the change at `sequence`; older news of its membership no longer counts. Where this is heard late
    /// the user may have joined again since.
    pub fn leave(&mut self, group: &str, user: &str, sequence: u64) {
        let membership = self.users.get(user).and_then(|user| user.groups.get(group));
        if membership.is_some_and(|from| *from < sequence) {
            self.remove_member(group, user);
        }
        // Those whose key was seen to go before this was heard stay: they say nothing new, and must not fill the memory.
        if self.left.len() >= LEFT_AT_MOST {
            self.left.clear();
        }
        let left = self.left.entry((group.into(), user.into())).or_default();
        *left = sequence.max(*left);
    }

    /// The group was deleted by the change at `sequence`; who has joined since stays.
    pub fn delete_group(&mut self, group: &str, sequence: u64) {
        let members = self.groups.get(group).map(|entry| entry.members.iter());
        let older = members.into_iter().flatten().filter(|user| {
            let membership = self.users.get(&**user).and_then(|user| user.groups.get(group));
            membership.is_some_and(|from| *from < sequence)
        });
        for user in older.cloned().collect::<Vec<_>>() {
            self.remove_member(group, &user);
        }
        if self.deleted.len() >= DELETED_AT_MOST {
            self.deleted.clear();
        }
        self.deleted.insert(group.into(), sequence);
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
        if entry.groups.remove(group).is_some()
            && let Some(entry) = self.groups.get_mut(group)
        {
            entry.members.remove(user);
            entry.online.remove(user);
            if entry.members.is_empty() {
                self.groups.remove(group);
            }
        }
        if self.users.get(user).is_some_and(|entry| entry.groups.is_empty()) {
            self.users.remove(user);
        }
    }

    /// The bucket of groups is told anew.
    pub fn reset_groups(&mut self) {
        self.groups.clear();
        self.told = 0;
        self.left.clear();
        self.deleted.clear();
        self.users.clear();
    }

    // --- questions ---

    pub fn presence(&self) -> &Table {
        &self.presence
    }

    pub fn is_online(&self, user: &str) -> bool {
        self.presence.is_online(user)
    }

    pub fn anyone_online(&self) -> bool {
        self.presence.online_count() > 0
    }

    pub fn online_count(&self) -> usize {
        self.presence.online_count()
    }

    /// How many members a group has, how many of them are online, and who, by name and at most `limit`.
    pub fn group_presence(&self, group: &str, limit: usize) -> Presence {
        let none = Group::default();
        let group = self.groups.get(group).unwrap_or(&none);
        let first = group.online.iter().take(limit);
        let users: Vec<UserPresence> = first.map(|user| self.presence.of(user.to_string())).collect();
        Presence {
            users,
            online: Some(count(group.online.len())),
            members: Some(count(group.members.len())),
            restricted: false,
        }
    }

    /// Up to `limit` of those who are online, by name, after `after`.
    pub fn users_online(&self, after: &str, limit: usize) -> UserPage {
        self.user_page(&self.online, after, limit)
    }

    /// Up to `limit` of a group's members, by name, after `after`; None: there is no such group.
    pub fn members(&self, group: &str, online: bool, after: &str, limit: usize) -> Option<UserPage> {
        let group = self.groups.get(group)?;
        let of = if online { &group.online } else { &group.members };
        Some(self.user_page(of, after, limit))
    }

    fn user_page(&self, of: &BTreeSet<Id>, after: &str, limit: usize) -> UserPage {
        let mut rest = of.range::<str, _>(behind(after));
        let users = rest.by_ref().take(limit);
        UserPage {
            users: users.map(|user| self.presence.of(user.to_string())).collect(),
            more: rest.next().is_some(),
        }
    }

    /// Up to `limit` groups, by name, after `after`.
    pub fn group_page(&self, after: &str, limit: usize) -> GroupPage {
        let mut rest = self.groups.range::<str, _>(behind(after));
        let groups = rest.by_ref().take(limit);
        GroupPage {
            groups: groups.map(|(id, group)| group.info(id)).collect(),
            more: rest.next().is_some(),
        }
    }

    /// None: there is no such group.
    pub fn group_info(&self, group: &str) -> Option<GroupInfo> {
        Some(self.groups.get(group)?.info(group))
    }

    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Whether a member of `group` other than `except` is online.
    pub fn others_online(&self, group: &str, except: Option<&str>) -> bool {
        let Some(group) = self.groups.get(group) else {
            return false;
        };
        let own = except.is_some_and(|user| group.online.contains(user));
        group.online.len() > usize::from(own)
    }

    pub fn is_member(&self, group: &str, user: &str) -> bool {
        self.users.get(user).is_some_and(|u| u.groups.contains_key(group))
    }

    pub fn groups_of(&self, user: &str) -> Vec<String> {
        let Some(user) = self.users.get(user) else {
            return Vec::new();
        };
        user.groups.keys().map(ToString::to_string).collect()
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
        let known = self.users.get_key_value(user).map(|(id, _)| id);
        let known = known.or_else(|| self.presence.id_of(user));
        known.cloned().unwrap_or_else(|| user.into())
    }

    /// A user has come online or gone offline. False where that was known.
    fn recount(&mut self, change: &Change) -> bool {
        let turned = match change.online {
            true => self.online.insert(change.user.clone()),
            false => self.online.remove(&change.user),
        };
        let Some((user, entry)) = self.users.get_key_value(&change.user) else {
            return turned;
        };
        for group in entry.groups.keys() {
            if let Some(group) = self.groups.get_mut(group) {
                if change.online {
                    group.online.insert(user.clone());
                } else {
                    group.online.remove(user);
                }
            }
        }
        turned
    }
}

/// Ids are never empty: all of them stand behind the empty text.
fn behind(after: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Excluded(after), Bound::Unbounded)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
