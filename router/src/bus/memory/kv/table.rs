//! One bucket: its keys, the order of their revisions, its deletions of late, and its TTLs by when they end.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use herald_proto::id;
use tokio::time::Instant;

use super::{
    ends::Ends,
    item::{ByKey, ByRevision, Item},
};
use crate::bus::{BusError, Entry, KvEvent, Result};

/// Deletions that watchers can still learn of one by one. A watcher further behind begins again.
const DELETIONS: usize = 16_384;

#[derive(Default)]
pub(super) struct Table {
    /// In order, so that the keys of a prefix stand together.
    keys: BTreeSet<ByKey>,
    by_revision: BTreeSet<ByRevision>,
    deletions: VecDeque<Deletion>,
    /// Deletions up to this revision are no longer known one by one.
    forgotten: u64,
    ends: Ends,
    revision: u64,
}

struct Deletion {
    revision: u64,
    key: Box<str>,
    /// Unix milliseconds.
    time: u64,
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
        self.entry(self.keys.get(key)?, Instant::now())
    }

    /// None: it has run out. The timer may be late; a reader must not see it.
    fn entry(&self, ByKey(item): &ByKey, now: Instant) -> Option<Entry> {
        (!self.ends.has_ended(item.revision, now)).then(|| item.entry())
    }

    /// The keys that begin with all tokens of `prefix`.
    pub(super) fn select<'a>(&'a self, prefix: &str) -> impl Iterator<Item = (&'a str, Entry)> {
        let now = Instant::now();
        // The key that is the prefix itself stands apart from those beneath it.
        let (itself, beneath) = match prefix {
            "" => (None, String::new()),
            _ => (self.keys.get(prefix), format!("{prefix}.")),
        };
        let from = (Bound::Included(beneath.as_str()), Bound::Unbounded);
        let rest = self.keys.range::<str, _>(from);
        let rest = rest.take_while(move |ByKey(item)| item.key.starts_with(&beneath));
        let found = itself.into_iter().chain(rest);
        found.filter_map(move |found| Some((&*found.0.key, self.entry(found, now)?)))
    }

    pub(super) fn put(&mut self, key: &str, value: Bytes, expect: Expect, ends: Option<Instant>) -> Result<u64> {
        self.compare(key, expect)?;
        let key = self.take(key).unwrap_or_else(|| key.into());
        self.revision += 1;
        let revision = self.revision;
        if let Some(ends) = ends {
            self.ends.insert(revision, ends);
        }
        let item = Item::new(key, value, revision, id::now_ms());
        self.by_revision.insert(ByRevision(item.clone()));
        self.keys.insert(ByKey(item));
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
    fn take(&mut self, key: &str) -> Option<Box<str>> {
        let ByKey(item) = self.keys.take(key)?;
        self.by_revision.remove(&item.revision);
        self.ends.remove(item.revision);
        // Nothing else holds it.
        Some(Arc::into_inner(item)?.key)
    }

    /// Drops the keys that `matches`, without a word to watchers. How many.
    pub(super) fn purge_if(&mut self, matches: impl Fn(&str) -> bool) -> u64 {
        let keys = self.keys.iter().map(|ByKey(item)| &item.key);
        let keys: Vec<Box<str>> = keys.filter(|key| matches(key)).cloned().collect();
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
        while let Some((ends, revision)) = self.ends.first()
            && ends <= now
            && let Some(ByRevision(item)) = self.by_revision.get(&revision)
        {
            let key = item.key.clone();
            self.delete(&key);
            expired = true;
        }
        expired
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(ends, _)| ends)
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
        let mut puts = self.by_revision.range::<u64, _>(after + 1..).peekable();
        let first = self.deletions.partition_point(|deletion| deletion.revision <= told);
        let mut deletions = self.deletions.range(first..).peekable();
        let (mut events, mut upto) = (Vec::new(), after);
        for _ in 0..limit {
            let deletion = deletions.peek().map_or(u64::MAX, |deletion| deletion.revision);
            if let Some(ByRevision(item)) = puts.next_if(|ByRevision(item)| item.revision < deletion) {
                upto = item.revision;
                if picks(&item.key) {
                    events.push(KvEvent::Put {
                        key: item.key.to_string(),
                        value: item.value(),
                        revision: item.revision,
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
