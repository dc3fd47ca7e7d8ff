//! Who watches whom, and what they have been told. Pure: told events and the time, it says what is to be told to whom.
//!
//! Only what concerns a watched user is kept. Who is watched for the first time is read from the bucket; what the
//! bucket's watch tells meanwhile waits, and counts where it is newer than what was read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use herald_router::{bus::KvEvent, presence::Table};

mod reading;
mod told;

pub use reading::Unread;

type User = Arc<str>;

/// One who watches.
pub trait Watcher: Clone {
    /// Unlike that of all others who watch at the same time.
    fn key(&self) -> usize;
    fn is_open(&self) -> bool;
}

pub struct Board<W> {
    table: Table,
    watched: HashMap<User, Watched<W>>,
    /// Whom each watcher watches.
    watchers: HashMap<usize, HashSet<User>>,
    /// Who is offline and may be back before anybody needs to know, since when.
    leaving: HashMap<User, Instant>,
    grace: Duration,
    /// The newest revision that the bucket's watch has told.
    position: u64,
    /// How often the bucket was told anew.
    generation: u64,
    current: bool,
}

struct Watched<W> {
    watchers: Vec<W>,
    /// The revision at which it was read; None: not yet.
    read: Option<u64>,
    /// What came before it was read.
    waiting: Vec<KvEvent>,
    /// What watchers believe.
    online: bool,
    /// Since when, in Unix milliseconds.
    since: u64,
}

/// What a watcher is to be told.
pub struct News<'a, W> {
    pub user: &'a str,
    pub online: bool,
    pub since: u64,
    pub watchers: &'a [W],
}

/// What one who begins to watch is told of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub user: String,
    pub online: bool,
    pub since: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    Watching(Vec<State>),
    /// Some are still to be read.
    Unread,
    TooMany,
    /// The watcher has gone.
    Gone,
}

impl<W: Watcher> Board<W> {
    pub fn new(grace: Duration) -> Self {
        Self {
            table: Table::new(false),
            watched: HashMap::new(),
            watchers: HashMap::new(),
            leaving: HashMap::new(),
            grace,
            position: 0,
            generation: 0,
            current: false,
        }
    }

    /// How many pairs of watcher and watched there are.
    pub fn count(&self) -> usize {
        self.watchers.values().map(HashSet::len).sum()
    }

    /// From now on the watcher is told of what changes.
    pub fn add(&mut self, watcher: &W, users: &[String], limit: usize) -> Added {
        if !watcher.is_open() {
            return Added::Gone;
        }
        let is_read = |user: &String| {
            self.watched
                .get(user.as_str())
                .is_some_and(|entry| entry.read.is_some())
        };
        if !users.iter().all(is_read) {
            return Added::Unread;
        }
        let known = self.watchers.get(&watcher.key());
        let new = users
            .iter()
            .filter(|user| known.is_none_or(|known| !known.contains(user.as_str())));
        if known.map_or(0, HashSet::len) + new.count() > limit {
            return Added::TooMany;
        }
        let mut states = Vec::with_capacity(users.len());
        for user in users {
            let Some((id, _)) = self.watched.get_key_value(user.as_str()) else {
                continue;
            };
            let id = id.clone();
            let Some(entry) = self.watched.get_mut(user.as_str()) else {
                continue;
            };
            if self.watchers.entry(watcher.key()).or_default().insert(id) {
                entry.watchers.push(watcher.clone());
            }
            states.push(State {
                user: user.clone(),
                online: entry.online,
                since: entry.since,
            });
        }
        Added::Watching(states)
    }

    pub fn remove(&mut self, watcher: &W, users: &[String]) {
        let key = watcher.key();
        for user in users {
            let Some(known) = self.watchers.get_mut(&key) else {
                break;
            };
            if let Some(user) = known.take(user.as_str()) {
                self.take_from(&user, key);
            }
        }
        if self.watchers.get(&key).is_some_and(HashSet::is_empty) {
            self.watchers.remove(&key);
        }
        self.tidy(users);
    }

    pub fn remove_all(&mut self, watcher: &W) {
        for user in self.watchers.remove(&watcher.key()).into_iter().flatten() {
            self.take_from(&user, watcher.key());
        }
    }

    /// Forgets those of `users` whom nobody watches.
    pub fn tidy(&mut self, users: &[String]) {
        for user in users {
            self.forget_if_unwatched(user);
        }
    }

    fn take_from(&mut self, user: &str, key: usize) {
        if let Some(entry) = self.watched.get_mut(user) {
            if let Some(at) = entry.watchers.iter().position(|watcher| watcher.key() == key) {
                entry.watchers.swap_remove(at);
            }
            self.forget_if_unwatched(user);
        }
    }

    fn forget_if_unwatched(&mut self, user: &str) {
        if self.watched.get(user).is_some_and(|entry| entry.watchers.is_empty()) {
            self.watched.remove(user);
            self.leaving.remove(user);
            self.table.forget_user(user);
        }
    }
}

impl<W> Watched<W> {
    fn new() -> Self {
        Self {
            watchers: Vec::new(),
            read: None,
            waiting: Vec::new(),
            online: false,
            since: 0,
        }
    }
}

#[cfg(test)]
mod tests;
