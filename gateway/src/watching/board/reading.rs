//! Users whom nobody has watched so far are read from the bucket.

use std::{collections::HashSet, time::Instant};

use herald_router::{
    bus::{KvEvent, Selection},
    presence::{self, Fact},
};

use super::{Board, User, Watched, Watcher};

/// Users to be read from the bucket.
#[derive(Debug, PartialEq, Eq)]
pub struct Unread {
    pub users: Vec<User>,
    position: u64,
    generation: u64,
}

impl<W: Watcher> Board<W> {
    /// Which of `users` must be read before they can be watched. None while the bucket is being told.
    pub fn begin(&mut self, users: &[String]) -> Option<Unread> {
        if !self.current {
            return None;
        }
        let unread = users.iter().filter_map(|user| {
            let user: User = user.as_str().into();
            let entry = self.watched.entry(user.clone()).or_insert_with(Watched::new);
            entry.read.is_none().then_some(user)
        });
        Some(Unread {
            users: unread.collect(),
            position: self.position,
            generation: self.generation,
        })
    }

    /// False where what was read is older than what has been told already: it must be read again.
    pub fn read(&mut self, unread: &Unread, selection: &Selection, now: Instant) -> bool {
        if unread.generation != self.generation || selection.upto < unread.position {
            return false;
        }
        let mut fresh = HashSet::new();
        let mut events: Vec<KvEvent> = Vec::new();
        for user in &unread.users {
            if let Some(entry) = self.watched.get_mut(user)
                && entry.read.is_none()
            {
                entry.read = Some(selection.upto);
                events.append(&mut entry.waiting);
                fresh.insert(user.clone());
            }
        }
        for (key, entry) in &selection.entries {
            let put = KvEvent::Put {
                key: key.clone(),
                value: entry.value.clone(),
                revision: entry.revision,
                // When somebody was last seen nobody here asks.
                time: 0,
            };
            if Fact::of(key).is_some_and(|fact| fact.presence_of().is_some()) {
                presence::apply(&mut self.table, &put, now, |user, _| fresh.contains(user));
            }
        }
        for event in events {
            presence::apply(&mut self.table, &event, now, |_, revision| revision > selection.upto);
        }
        // These are told as they are; of others nothing has changed.
        self.table.take_changes();
        for user in fresh {
            if let Some(entry) = self.watched.get_mut(&user) {
                entry.online = self.table.is_online(&user);
                entry.since = self.table.since(&user);
            }
        }
        true
    }
}
