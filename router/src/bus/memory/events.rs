//! Events in memory: what is too old or too much goes, oldest first.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use herald_proto::{id, limits::DEDUP_WINDOW};
use parking_lot::Mutex;

use super::MAX_PAYLOAD;
use crate::bus::{BusError, EventBounds, EventEntry, EventLimits, Events, PubSub, Result};

/// What an event takes beside its payload, roughly.
const OVERHEAD: u64 = 160;
/// Events of each hook that could not be delivered, of which the newest are kept.
const PARKED: usize = 1_000;

pub struct MemoryEvents {
    limits: EventLimits,
    epoch: String,
    state: Mutex<State>,
    /// On which they are published too, beneath these names.
    pubsub: Arc<dyn PubSub>,
    names: herald_proto::subject::Names,
}

#[derive(Default)]
struct State {
    /// With the time of each, in Unix milliseconds.
    entries: VecDeque<(u64, EventEntry)>,
    last: u64,
    bytes: u64,
    /// Ids of late, by which a repeated one is known.
    seen: HashSet<Arc<str>>,
    seen_order: VecDeque<(u64, Arc<str>)>,
    parked: VecDeque<(String, Bytes)>,
}

impl MemoryEvents {
    pub fn new(limits: EventLimits, pubsub: Arc<dyn PubSub>, names: herald_proto::subject::Names) -> Self {
        Self {
            limits,
            epoch: id::message_id(),
            state: Mutex::default(),
            pubsub,
            names,
        }
    }
}

impl State {
    /// False where it is there already.
    fn append(&mut self, kind: &str, id: &str, payload: Bytes, now: u64, limits: &EventLimits) -> bool {
        while let Some((at, _)) = self.seen_order.front()
            && now.saturating_sub(*at) > millis(DEDUP_WINDOW)
        {
            if let Some((_, id)) = self.seen_order.pop_front() {
                self.seen.remove(&id);
            }
        }
        let id: Arc<str> = id.into();
        if !self.seen.insert(id.clone()) {
            return false;
        }
        self.seen_order.push_back((now, id));
        self.last += 1;
        self.bytes += payload.len() as u64 + OVERHEAD;
        let entry = EventEntry {
            sequence: self.last,
            kind: kind.to_owned(),
            payload,
        };
        self.entries.push_back((now, entry));
        self.trim(now, limits);
        true
    }

    fn trim(&mut self, now: u64, limits: &EventLimits) {
        let oldest = now.saturating_sub(millis(limits.max_age));
        while let Some((at, entry)) = self.entries.front()
            && (*at < oldest || self.bytes > limits.max_bytes)
        {
            self.bytes -= entry.payload.len() as u64 + OVERHEAD;
            self.entries.pop_front();
        }
    }
}

#[async_trait]
impl Events for MemoryEvents {
    async fn publish(&self, kind: &str, id: &str, payload: Bytes) -> Result<()> {
        if payload.len() > MAX_PAYLOAD {
            return Err(BusError::TooLarge);
        }
        let new = self
            .state
            .lock()
            .append(kind, id, payload.clone(), id::now_ms(), &self.limits);
        match new {
            true => self.pubsub.publish(&self.names.event(kind), payload).await,
            false => Ok(()),
        }
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<EventEntry>> {
        let mut state = self.state.lock();
        state.trim(id::now_ms(), &self.limits);
        let start = state.entries.partition_point(|(_, entry)| entry.sequence <= after);
        let rest = state.entries.range(start..).take(limit);
        Ok(rest.map(|(_, entry)| entry.clone()).collect())
    }

    async fn bounds(&self) -> Result<EventBounds> {
        let state = self.state.lock();
        let first = state
            .entries
            .front()
            .map_or(state.last + 1, |(_, entry)| entry.sequence);
        Ok(EventBounds {
            epoch: self.epoch.clone(),
            first,
            last: state.last,
        })
    }

    async fn first_since(&self, time_ms: u64) -> Result<Option<u64>> {
        let state = self.state.lock();
        let found = state.entries.iter().find(|(at, _)| *at >= time_ms);
        Ok(found.map(|(_, entry)| entry.sequence))
    }

    async fn park(&self, hook: &str, _id: &str, payload: Bytes) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.parked.len() >= PARKED {
                state.parked.pop_front();
            }
            state.parked.push_back((hook.to_owned(), payload.clone()));
        }
        self.pubsub.publish(&self.names.parked(hook), payload).await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
