//! What the bucket's watch and the time tell, and what watchers are told for it.

use std::time::Instant;

use herald_proto::id;
use herald_router::{
    bus::KvEvent,
    presence::{self, Change, Fact},
};

use super::{Board, News, Watched, Watcher};

type Tell<'a, W> = &'a mut dyn FnMut(News<'_, W>);

impl<W: Watcher> Board<W> {
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
}

impl<W> Watched<W> {
    fn news<'a>(&'a self, user: &'a str) -> News<'a, W> {
        News {
            user,
            online: self.online,
            since: self.since,
            watchers: &self.watchers,
        }
    }
}
