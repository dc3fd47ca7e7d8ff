//! What the log holds: messages by target and, for trimming and for `get`, the order of all.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use herald_proto::Target;

use super::seen::Seen;
use crate::bus::{Bounds, LogEntry, LogLimits, Newer, Page, StoredAt};

/// What a message takes beside its payload, roughly: it counts towards `max_bytes`, so that many small ones are bounded.
const OVERHEAD: u64 = 128;

pub(super) struct Store {
    limits: LogLimits,
    last: u64,
    last_ms: u64,
    bytes: u64,
    /// The last message that went for its age or for want of room.
    trimmed: u64,
    /// Never an empty queue: a target whose messages are all trimmed is forgotten, as on NATS, so its next `previous` is 0.
    targets: HashMap<Arc<Target>, VecDeque<LogEntry>>,
    /// Which target each stored sequence belongs to. Sparse, for one target may trim much while another keeps all.
    order: BTreeMap<u64, Arc<Target>>,
    seen: Seen,
}

impl Store {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            last: 0,
            last_ms: now_ms(),
            bytes: 0,
            trimmed: 0,
            targets: HashMap::new(),
            order: BTreeMap::new(),
            seen: Seen::new(),
        }
    }

    /// `Err` is the sequence under which the same dedup id was stored before.
    pub(super) fn append(&mut self, target: &Target, payload: Bytes, dedup: &str) -> Result<StoredAt, u64> {
        let now = Instant::now();
        self.seen.forget(now);
        let digest = self.seen.digest(dedup);
        if let Some(first) = self.seen.find(digest) {
            return Err(first);
        }
        self.last += 1;
        let sequence = self.last;
        self.seen.insert(now, digest, sequence);

        let key = match self.targets.get_key_value(target) {
            Some((key, _)) => key.clone(),
            None => Arc::new(target.clone()),
        };
        let entries = self.targets.entry(key.clone()).or_default();
        let previous = entries.back().map_or(0, |entry| entry.sequence);
        let time_ms = now_ms();
        self.last_ms = time_ms;
        self.bytes += size(&payload);
        // Most targets have one or two: room for four at once would be most of what they take.
        if entries.len() == entries.capacity() && entries.len() < 4 {
            entries.reserve_exact(entries.len().max(1));
        }
        entries.push_back(LogEntry {
            payload,
            sequence,
            time_ms,
        });
        let full = entries.len() as u64 > self.limits.max_messages_per_target;
        let oldest = entries.front().map(|entry| entry.sequence);
        self.order.insert(sequence, key);
        if let (true, Some(oldest)) = (full, oldest) {
            self.remove(oldest);
        }
        self.trim();
        Ok(StoredAt {
            sequence,
            previous,
            time_ms,
        })
    }

    /// The sequence that it takes.
    pub(super) fn beat(&mut self) -> u64 {
        self.last += 1;
        self.last_ms = now_ms();
        self.trim();
        self.last
    }

    /// Drops what is too old or too much, oldest first.
    pub(super) fn trim(&mut self) {
        let oldest_kept = now_ms().saturating_sub(millis(self.limits.max_age));
        while let Some((&sequence, target)) = self.order.first_key_value() {
            let entry = self.targets.get(target).and_then(VecDeque::front);
            let too_old = entry.is_some_and(|entry| entry.time_ms < oldest_kept);
            if !too_old && self.bytes <= self.limits.max_bytes {
                break;
            }
            self.trimmed = sequence;
            self.remove(sequence);
        }
    }

    /// `sequence` is the oldest of its target, whatever the limit that it fell to.
    fn remove(&mut self, sequence: u64) {
        let Some(target) = self.order.remove(&sequence) else {
            return;
        };
        let Some(entries) = self.targets.get_mut(&target) else {
            return;
        };
        if let Some(entry) = entries.pop_front() {
            self.bytes -= size(&entry.payload);
        }
        if entries.is_empty() {
            self.targets.remove(&target);
        } else if entries.capacity() > 64 && entries.len() < entries.capacity() / 4 {
            entries.shrink_to_fit();
        }
    }

    pub(super) fn read(&self, target: &Target, after: u64, limit: usize) -> Page {
        let Some(entries) = self.targets.get(target) else {
            return Page::default();
        };
        let start = entries.partition_point(|entry| entry.sequence <= after);
        let end = entries.len().min(start.saturating_add(limit));
        Page {
            entries: entries.range(start..end).cloned().collect(),
            left: (entries.len() - end) as u64,
        }
    }

    pub(super) fn read_back(&self, target: &Target, before: u64, limit: usize) -> Page {
        let Some(entries) = self.targets.get(target) else {
            return Page::default();
        };
        let end = entries.partition_point(|entry| entry.sequence < before);
        let start = end.saturating_sub(limit);
        Page {
            entries: entries.range(start..end).cloned().collect(),
            left: start as u64,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            first: self.trimmed + 1,
            last: self.last,
            last_ms: self.last_ms,
            per_target: self.limits.max_messages_per_target,
            earlier: None,
        }
    }

    pub(super) fn get(&self, sequence: u64) -> Option<LogEntry> {
        let entries = self.targets.get(self.order.get(&sequence)?)?;
        let at = entries.binary_search_by_key(&sequence, |entry| entry.sequence);
        entries.get(at.ok()?).cloned()
    }

    pub(super) fn first_since(&self, time_ms: u64) -> Option<u64> {
        let mut sequences = self.order.keys().copied();
        sequences.find(|sequence| self.get(*sequence).is_some_and(|entry| entry.time_ms >= time_ms))
    }

    pub(super) fn last_of(&self, target: &Target) -> Option<u64> {
        Some(self.targets.get(target)?.back()?.sequence)
    }

    pub(super) fn purge(&mut self, target: &Target, upto: u64) -> u64 {
        let entries = self.targets.get(target).map(|entries| entries.iter());
        let sequences = entries.into_iter().flatten().map(|entry| entry.sequence);
        let gone: Vec<u64> = sequences.take_while(|sequence| *sequence <= upto).collect();
        gone.iter().for_each(|sequence| self.remove(*sequence));
        gone.len() as u64
    }

    pub(super) fn newer(&self, targets: &[Target], after: u64) -> Newer {
        // Mostly nothing has come at all: then no target needs to be looked at.
        let quiet = self.order.last_key_value().is_none_or(|(last, _)| *last <= after);
        let targets = if quiet { &[] } else { targets };
        let newest = |target: &Target| self.targets.get(target)?.back().map(|entry| entry.sequence);
        let found = targets.iter().filter_map(|target| {
            let sequence = newest(target).filter(|sequence| *sequence > after)?;
            Some((target.clone(), sequence))
        });
        Newer {
            targets: found.collect(),
            upto: self.last,
        }
    }
}

fn size(payload: &Bytes) -> u64 {
    payload.len() as u64 + OVERHEAD
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    millis(now.unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
