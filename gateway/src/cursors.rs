//! How far the clients have come that keep no cursor themselves: by user and dialect, in a bucket.
//!
//! Level-triggered: what is proven only marks its key, and what is then written is what holds at that moment, one
//! operation in flight for each key. What is lost of this is given again; nothing is skipped.
//!
//! Of several connections of a user and dialect on this node the cursor is the one's that has come least far, those that
//! have just gone among them ([`absent`]). Nodes do not know of each other's: the last that writes is believed.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use herald_proto::{offset::Cursor, subject};
use herald_router::bus::{Bucket, Bus, BusError};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};
use tracing::debug;

mod absent;

use absent::Absent;

/// How often all that has changed is written: what was proven in between is given again to one whose node dies.
const EVERY: Duration = Duration::from_secs(2);
/// Operations in flight at once, each on another key.
const AT_ONCE: usize = 64;

type Key = (Arc<str>, &'static str);

/// How far one connection has come. None: it has not proved anything yet, and began at the start.
pub type Position = Option<Cursor>;

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
    absent: Absent,
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

    /// A connection has received all up to here. `others` tells how far those of the same user and dialect have come that
    /// have something yet to prove, itself perhaps among them.
    pub fn note(&self, user: &Arc<str>, dialect: &'static str, cursor: Cursor, others: impl FnOnce() -> Vec<Position>) {
        let key = (user.clone(), dialect);
        // Asked under the lock: what is noted last is what holds last.
        let mut state = self.state.lock();
        let others = others();
        if let Some(least) = least(cursor, others.iter().chain(state.absent.of(&key))) {
            state.changed.insert(key, least);
        }
    }

    /// A connection has gone that had something yet to prove. `alone`: its user has no other here of its dialect. Then
    /// the cursor stands where it was, for whoever comes next.
    pub fn left(&self, user: &Arc<str>, dialect: &'static str, at: Position, alone: bool) {
        let key = (user.clone(), dialect);
        let mut state = self.state.lock();
        if !alone || state.absent.knows(&key) {
            state.absent.left(key, at, Instant::now());
        }
    }

    /// A connection has begun where the cursor is.
    pub fn came(&self, user: &Arc<str>, dialect: &'static str) {
        self.state.lock().absent.came(user, dialect);
    }

    /// The first cursor of one who was never here. It stands before the client is welcomed: should the node die, it must
    /// not pass for a newcomer again.
    pub async fn begin(
        &self,
        user: &Arc<str>,
        dialect: &'static str,
        cursor: Cursor,
        others: impl FnOnce() -> Vec<Position>,
    ) {
        let key = name(&(user.clone(), dialect));
        let value = cursor.to_string().into();
        let created = self.bus.kv.create(Bucket::Cursors, &key, value, Some(self.ttl)).await;
        if let Err(error) = created {
            // There is one of another log, or of another connection of this moment; or it cannot be written yet.
            debug!(%error, "a first cursor is written later");
            self.note(user, dialect, cursor, others);
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
            state.absent.forget(Instant::now());
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

/// None: somebody has proved nothing yet. Places in a log that is gone say nothing of this one.
fn least<'a>(cursor: Cursor, others: impl Iterator<Item = &'a Position>) -> Position {
    let mut least = cursor;
    for other in others {
        let other = other.as_ref()?;
        if other.log == least.log && other.sequence < least.sequence {
            least = other.clone();
        }
    }
    Some(least)
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
        here.note(&user, "ws-id", cursor(5), Vec::new);
        assert_eq!(here.of(&user, "ws-id").await, Ok(Some(cursor(5))));
        assert_eq!(there.of(&user, "ws-id").await, Ok(None));
        here.write().await;
        assert_eq!(there.of(&user, "ws-id").await, Ok(Some(cursor(5))));
        assert_eq!(there.of(&user, "im").await, Ok(None), "each dialect has its own");
    }

    #[tokio::test]
    async fn the_cursor_is_of_the_one_that_has_come_least_far() {
        let cursors = Cursors::new(memory::bus(LogSettings::default().limits()), Duration::from_secs(60));
        let user: Arc<str> = "7".into();
        let kept = async || cursors.of(&user, "im").await.unwrap();
        let note = |at, others: &[Position]| cursors.note(&user, "im", cursor(at), || others.to_vec());
        note(9, &[None]);
        assert_eq!(kept().await, None, "another has proved nothing");
        note(9, &[Some(cursor(4)), Some(cursor(6))]);
        assert_eq!(kept().await, Some(cursor(4)));
        note(9, &[Some("77@0:2".parse().unwrap())]);
        assert_eq!(kept().await, Some(cursor(9)), "a log that is gone holds nothing back");
        // One has gone without a word, and holds the others back until it, or another in its place, has come.
        cursors.left(&user, "im", Some(cursor(10)), false);
        note(20, &[]);
        assert_eq!(kept().await, Some(cursor(10)));
        cursors.came(&user, "im");
        note(20, &[]);
        assert_eq!(kept().await, Some(cursor(20)));
        // Where there were no others nobody moves the cursor past it.
        cursors.left(&user, "im", Some(cursor(30)), true);
        note(40, &[]);
        assert_eq!(kept().await, Some(cursor(40)));
    }
}
