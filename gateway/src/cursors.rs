//! How far the clients have come that keep no cursor themselves: by user and dialect, in a bucket.
//!
//! Level-triggered: what is proven only marks its key, and what is then written is what holds at that moment, one
//! operation in flight for each key. What is lost of this is given again; nothing is skipped.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use herald_proto::{offset::Cursor, subject};
use herald_router::bus::{Bucket, Bus, BusError};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};
use tracing::debug;

/// How often all that has changed is written: what was proven in between is given again to one whose node dies.
const EVERY: Duration = Duration::from_secs(2);
/// Operations in flight at once, each on another key.
const AT_ONCE: usize = 64;

type Key = (Arc<str>, &'static str);

pub struct Cursors {
    bus: Bus,
    /// As long as the log keeps what is behind a cursor.
    ttl: Duration,
    state: Mutex<State>,
    /// One write of all at a time.
    writing: tokio::sync::Mutex<()>,
    wake: Notify,
}

/// Bounded by the users who are connected, or were within one write.
#[derive(Default)]
struct State {
    changed: HashMap<Key, Cursor>,
    /// Under way.
    written: HashMap<Key, Cursor>,
}

impl Cursors {
    pub fn new(bus: Bus, ttl: Duration) -> Self {
        Self {
            bus,
            ttl: ttl.max(Duration::from_secs(1)),
            state: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// All up to here has been received.
    pub fn note(&self, user: &Arc<str>, dialect: &'static str, cursor: Cursor) {
        let mut state = self.state.lock();
        let key = (user.clone(), dialect);
        let known = state.changed.get(&key).or_else(|| state.written.get(&key));
        let older = known.is_some_and(|known| known.log == cursor.log && known.sequence >= cursor.sequence);
        if !older {
            state.changed.insert(key, cursor);
        }
    }

    /// The first cursor of one who was never here. It stands before the client is welcomed: should the node die, it must
    /// not pass for a newcomer again.
    pub async fn begin(&self, user: &Arc<str>, dialect: &'static str, cursor: Cursor) {
        let key = name(&(user.clone(), dialect));
        let value = cursor.to_string().into();
        let created = self.bus.kv.create(Bucket::Cursors, &key, value, Some(self.ttl)).await;
        if let Err(error) = created {
            // There is one of another log, or of another connection of this moment; or it cannot be written yet.
            debug!(%error, "a first cursor is written later");
            self.note(user, dialect, cursor);
        }
    }

    /// A client has gone and may come back, on another node.
    pub fn hurry(&self, user: &Arc<str>, dialect: &'static str) {
        if self.state.lock().changed.contains_key(&(user.clone(), dialect)) {
            self.wake.notify_one();
        }
    }

    /// How far the user's clients of this dialect have come; None: not known, or no longer.
    pub async fn of(&self, user: &Arc<str>, dialect: &'static str) -> Result<Option<Cursor>, BusError> {
        let key = (user.clone(), dialect);
        {
            let state = self.state.lock();
            if let Some(cursor) = state.changed.get(&key).or_else(|| state.written.get(&key)) {
                return Ok(Some(cursor.clone()));
            }
        }
        let entry = self.bus.kv.get_latest(Bucket::Cursors, &name(&key)).await?;
        let text = entry.and_then(|entry| String::from_utf8(entry.value.into()).ok());
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Writes until dropped.
    pub async fn run(&self) {
        loop {
            // In time, or at once where somebody has gone.
            let _asked = timeout(EVERY, self.wake.notified()).await.is_ok();
            self.write().await;
        }
    }

    /// Writes all that has changed.
    pub async fn write(&self) {
        let _one_at_a_time = self.writing.lock().await;
        let jobs: Vec<_> = {
            let mut state = self.state.lock();
            state.written = std::mem::take(&mut state.changed);
            let jobs = state.written.iter();
            jobs.map(|(key, cursor)| put(self.bus.clone(), key.clone(), cursor.clone(), self.ttl))
                .collect()
        };
        let outcomes: Vec<Option<(Key, Cursor)>> = stream::iter(jobs).buffer_unordered(AT_ONCE).collect().await;
        let mut state = self.state.lock();
        for (key, cursor) in outcomes.into_iter().flatten() {
            state.changed.entry(key).or_insert(cursor);
        }
        state.written.clear();
    }
}

/// What could not be written.
async fn put(bus: Bus, key: Key, cursor: Cursor, ttl: Duration) -> Option<(Key, Cursor)> {
    let name = name(&key);
    let value = cursor.to_string().into();
    match bus.kv.put(Bucket::Cursors, &name, value, Some(ttl)).await {
        Ok(_) => None,
        Err(error) => {
            debug!(%error, "a cursor could not be written yet");
            Some((key, cursor))
        }
    }
}

fn name((user, dialect): &Key) -> String {
    subject::key(&[user, dialect])
}

#[cfg(test)]
mod tests {
    use herald_router::{bus::memory, config::LogSettings};

    use super::*;

    fn cursor(sequence: u64) -> Cursor {
        format!("5f3a@0:{sequence}").parse().unwrap()
    }

    #[tokio::test]
    async fn what_was_proven_is_known_on_other_nodes_once_written() {
        let bus = memory::bus(LogSettings::default().limits());
        let here = Cursors::new(bus.clone(), Duration::from_secs(60));
        let there = Cursors::new(bus, Duration::from_secs(60));
        let user: Arc<str> = "7".into();
        assert_eq!(here.of(&user, "ws-id").await, Ok(None));
        here.note(&user, "ws-id", cursor(5));
        here.note(&user, "ws-id", cursor(4));
        assert_eq!(here.of(&user, "ws-id").await, Ok(Some(cursor(5))), "it never goes back");
        assert_eq!(there.of(&user, "ws-id").await, Ok(None));
        here.write().await;
        assert_eq!(there.of(&user, "ws-id").await, Ok(Some(cursor(5))));
        assert_eq!(there.of(&user, "im").await, Ok(None), "each dialect has its own");
    }
}
