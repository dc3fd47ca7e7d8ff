//! One bucket: its keys, the order of their revisions, its deletions of late, and its TTLs by when they end.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use herald_proto::id;
use tokio::time::Instant;

use crate::bus::{BusError, Entry, KvEvent, Result};

/// Deletions that watchers can still learn of one by one. A watcher further behind begins again.
const DELETIONS: usize = 16_384;

#[derive(Default)]
pub(super) struct Table {
    /// In order, so that the keys of a prefix stand together.
    keys: BTreeMap<Arc<str>, Item>,
    by_revision: BTreeMap<u64, Arc<str>>,
    deletions: VecDeque<Deletion>,
    /// Deletions up to this revision are no longer known one by one.
    forgotten: u64,
    ends: BTreeSet<(Instant, Arc<str>)>,
    revision: u64,
}

struct Deletion {
    revision: u64,
    key: Arc<str>,
    /// Unix milliseconds.
    time: u64,
}

struct Item {
    value: Bytes,
    revision: u64,
    /// Unix milliseconds.
    time: u64,
    ends: Option<Instant>,
}

impl Item {
    /// None: it has run out. The timer may be late; a reader must not see it.
    fn entry(&self, now: Instant) -> Option<Entry> {
        self.ends.is_none_or(|ends| ends > now).then(|| Entry {
            value: self.value.clone(),
            revision: self.revision,
        })
    }
}

/// What must stand for a write to pass.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    Anything,
    Nothing,
    Revision(u64),
}

/// What a watcher that has told all up to `after` has to tell now.
pub(super) enum Changes {
    /// In the order of revisions. All changes up to `upto` are told with these.
    Events {
        events: Vec<KvEvent>,
        upto: u64,
    },
    Lost,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.keys.get(key)?.entry(Instant::now())
    }

    /// The keys that begin with all tokens of `prefix`.
    pub(super) fn select<'a>(&'a self, prefix: &str) -> impl Iterator<Item = (&'a str, Entry)> {
        let now = Instant::now();
        // The key that is the prefix itself stands apart from those beneath it.
        let (itself, beneath) = match prefix {
            "" => (None, String::new()),
            _ => (self.keys.get_key_value(prefix), format!("{prefix}.")),
        };
        let from = (Bound::Included(beneath.as_str()), Bound::Unbounded);
        let rest = self.keys.range::<str, _>(from);
        let rest = rest.take_while(move |(key, _)| key.starts_with(&beneath));
        let found = itself.into_iter().chain(rest);
        found.filter_map(move |(key, item)| Some((&**key, item.entry(now)?)))
    }

    pub(super) fn put(&mut self, key: &str, value: Bytes, expect: Expect, ends: Option<Instant>) -> Result<u64> {
        self.compare(key, expect)?;
        let key = self.take(key).unwrap_or_else(|| key.into());
        self.revision += 1;
        let revision = self.revision;
        if let Some(ends) = ends {
            self.ends.insert((ends, key.clone()));
        }
        self.by_revision.insert(revision, key.clone());
        let time = id::now_ms();
        self.keys.insert(
            key,
            Item {
                value,
                revision,
                time,
                ends,
            },
        );
        Ok(revision)
    }

    fn compare(&self, key: &str, expect: Expect) -> Result<()> {
        let standing = self.get(key).map(|entry| entry.revision);
        let passes = match expect {
            Expect::Anything => true,
            Expect::Nothing => standing.is_none(),
            Expect::Revision(revision) => standing == Some(revision),
        };
        if passes { Ok(()) } else { Err(BusError::Conflict) }
    }

    pub(super) fn delete_if(&mut self, key: &str, expect: Expect) -> Result<u64> {
        self.compare(key, expect)?;
        self.delete(key);
        Ok(self.revision)
    }

    pub(super) fn delete(&mut self, key: &str) {
        let Some(key) = self.take(key) else {
            return;
        };
        self.revision += 1;
        self.deletions.push_back(Deletion {
            revision: self.revision,
            key,
            time: id::now_ms(),
        });
        if self.deletions.len() > DELETIONS
            && let Some(first) = self.deletions.pop_front()
        {
            self.forgotten = first.revision;
        }
    }

    /// Takes a key out of all indexes.
    fn take(&mut self, key: &str) -> Option<Arc<str>> {
        let (key, item) = self.keys.remove_entry(key)?;
        self.by_revision.remove(&item.revision);
        if let Some(ends) = item.ends {
            self.ends.remove(&(ends, key.clone()));
        }
        Some(key)
    }

    /// Drops the keys that `matches`, without a word to watchers. How many.
    pub(super) fn purge_if(&mut self, matches: impl Fn(&str) -> bool) -> u64 {
        let keys: Vec<Arc<str>> = self.keys.keys().filter(|key| matches(key)).cloned().collect();
        for key in &keys {
            self.take(key);
        }
        keys.len() as u64
    }

    /// Revisions go on; that all was dropped watchers learn because nothing up to here can be told.
    pub(super) fn purge(&mut self) {
        self.keys.clear();
        self.by_revision.clear();
        self.deletions.clear();
        self.ends.clear();
        self.revision += 1;
        self.forgotten = self.revision;
    }

    /// Deletes what has run out. True where there was something.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let mut expired = false;
        while let Some((ends, key)) = self.ends.first()
            && *ends <= now
        {
            let key = key.clone();
            self.delete(&key);
            expired = true;
        }
        expired
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(ends, _)| *ends)
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// What follows `after`, of keys that `picks`, looking at no more than `limit` changes. Deletions up to `base`, where
    /// the watch began, are of no interest to it.
    pub(super) fn changes(&self, after: u64, base: u64, limit: usize, picks: impl Fn(&str) -> bool) -> Changes {
        let told = after.max(base);
        if told < self.forgotten {
            return Changes::Lost;
        }
        let mut puts = self.by_revision.range(after + 1..).peekable();
        let first = self.deletions.partition_point(|deletion| deletion.revision <= told);
        let mut deletions = self.deletions.range(first..).peekable();
        let (mut events, mut upto) = (Vec::new(), after);
        for _ in 0..limit {
            let deletion = deletions.peek().map_or(u64::MAX, |deletion| deletion.revision);
            if let Some((&revision, key)) = puts.next_if(|(revision, _)| **revision < deletion) {
                upto = revision;
                if picks(key)
                    && let Some(item) = self.keys.get(key)
                {
                    events.push(KvEvent::Put {
                        key: key.to_string(),
                        value: item.value.clone(),
                        revision,
                        time: item.time,
                    });
                }
            } else if let Some(deletion) = deletions.next() {
                upto = deletion.revision;
                if picks(&deletion.key) {
                    events.push(KvEvent::Delete {
                        key: deletion.key.to_string(),
                        revision: deletion.revision,
                        time: deletion.time,
                    });
                }
            } else {
                upto = self.revision;
                break;
            }
        }
        Changes::Events { events, upto }
    }
}
