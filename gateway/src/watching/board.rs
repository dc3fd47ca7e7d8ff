//! Who watches whom, and what they have been told. Pure: told events and the time, it says what is to be told to whom.
//!
//! Only what concerns a watched user is kept. Who is watched for the first time is read from the bucket; what the
//! bucket's watch tells meanwhile waits, and counts where it is newer than what was read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use herald_proto::id;
use herald_router::{
    bus::{KvEvent, Selection},
    presence::{self, Change, Fact, Table},
};

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

/// Users to be read from the bucket.
#[derive(Debug, PartialEq, Eq)]
pub struct Unread {
    pub users: Vec<User>,
    position: u64,
    generation: u64,
}

/// What a watcher is to be told.
pub struct News<'a, W> {
    pub user: &'a str,
    pub online: bool,
    pub since: u64,
    pub watchers: &'a [W],
}

type Tell<'a, W> = &'a mut dyn FnMut(News<'_, W>);

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

    // --- what the bucket says ---

    pub fn event(&mut self, event: &KvEvent, now: Instant, tell: Tell<'_, W>) {
        match event {
            KvEvent::Reset => self.reset(),
            KvEvent::Current => self.current = true,
            KvEvent::Put { key, revision, .. } | KvEvent::Delete { key, revision, .. } => {
                self.position = self.position.max(*revision);
                if let Some(fact) = Fact::of(key)
                    && let Some(user) = fact.presence_of()
                    && let Some(watched) = self.watched.get_mut(user)
                    && watched.read.is_none()
                {
                    watched.waiting.push(event.clone());
                    return;
                }
            }
        }
        let watched = &self.watched;
        presence::apply(&mut self.table, event, now, |user, revision| {
            watched
                .get(user)
                .is_some_and(|w| w.read.is_some_and(|read| revision > read))
        });
        self.follow(now, tell);
        if self.grace.is_zero() {
            self.tell_of_leaving(now, tell);
        }
    }

    fn reset(&mut self) {
        self.generation += 1;
        self.position = 0;
        self.current = false;
        for watched in self.watched.values_mut() {
            watched.waiting.clear();
            watched.read = watched.read.map(|_| 0);
        }
    }

    /// What follows from the time alone.
    pub fn tick(&mut self, now: Instant, tell: Tell<'_, W>) {
        self.table.tick(now);
        self.follow(now, tell);
        self.tell_of_leaving(now, tell);
    }

    fn tell_of_leaving(&mut self, now: Instant, tell: Tell<'_, W>) {
        let Self {
            leaving,
            watched,
            grace,
            ..
        } = self;
        leaving.retain(|user, since| {
            let gone = now.duration_since(*since);
            if gone < *grace {
                return true;
            }
            if let Some(entry) = watched.get_mut(user) {
                entry.online = false;
                entry.since = id::now_ms().saturating_sub(u64::try_from(gone.as_millis()).unwrap_or(0));
                tell(entry.news(user));
            }
            false
        });
    }

    fn follow(&mut self, now: Instant, tell: Tell<'_, W>) {
        for Change { user, .. } in self.table.take_changes() {
            let Some(entry) = self.watched.get_mut(&user) else {
                continue;
            };
            if !self.table.is_online(&user) {
                if entry.online {
                    self.leaving.insert(user, now);
                }
                continue;
            }
            self.leaving.remove(&user);
            if !entry.online {
                entry.online = true;
                entry.since = self.table.since(&user);
                tell(entry.news(&user));
            }
        }
    }

    // --- who watches ---

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

    fn news<'a>(&'a self, user: &'a str) -> News<'a, W> {
        News {
            user,
            online: self.online,
            since: self.since,
            watchers: &self.watchers,
        }
    }
}

#[cfg(test)]
mod tests;
