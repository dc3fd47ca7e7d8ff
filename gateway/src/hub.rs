//! The local side of every target: which connections of this node are to get a user's, a group's, everybody's messages.
//!
//! One [`Topic`] for each target with a local member holds the subscription, the members and the order. The bus hands
//! live copies to [`Hub::live`], which never waits: it puts frames into outboxes.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::{DashMap, mapref::entry::Entry};
use herald_proto::{Target, cluster};
use herald_router::bus::{Bus, BusError, LiveCopy, LiveSink, LogEntry};
use parking_lot::MutexGuard;
use prost::Message as _;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{conn::Conn, metrics::Metrics};

mod anew;
mod fanout;
mod idle;
pub mod membership;
mod repair;
pub mod sequencer;
mod topic;

use idle::Idle;
use membership::Orders;
use sequencer::Step;
use topic::{Topic, TopicState};

pub struct Hub {
    /// Itself, for work that outlives a call.
    this: Weak<Hub>,
    topics: DashMap<Target, Arc<Topic>>,
    bus: Bus,
    idle: Idle,
    /// Group changes that came with live copies, to be acted on by a task that may wait.
    orders: Orders,
    tasks: TaskTracker,
    metrics: Metrics,
}

impl Hub {
    /// `linger`: how long a subscription outlives its last local member.
    pub fn new(bus: Bus, linger: Duration, tasks: TaskTracker, metrics: Metrics) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            topics: DashMap::new(),
            bus,
            idle: Idle::new(linger),
            orders: Orders::new(),
            tasks,
            metrics,
        })
    }

    /// The work that goes on beside the connections; ends when dropped.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(
            self.clone().drop_idle(),
            self.clone().follow_log(),
            membership::run(self.clone())
        );
    }

    /// The target's topic, subscribed. True where the subscription was made just now.
    async fn topic(self: &Arc<Self>, target: &Target) -> Result<(Arc<Topic>, bool), BusError> {
        let topic = match self.topics.entry(target.clone()) {
            Entry::Occupied(entry) => entry.get().clone(),
            Entry::Vacant(entry) => entry.insert(Topic::new(target.clone())).clone(),
        };
        let fresh = topic.subscribe(&self.bus, self.clone()).await?;
        Ok((topic, fresh))
    }

    /// Runs `act` on the state of a subscribed topic that is, and while locked stays, in the table.
    async fn with_topic<T>(
        self: &Arc<Self>,
        target: &Target,
        mut act: impl FnMut(&Arc<Topic>, MutexGuard<'_, TopicState>) -> T,
    ) -> Result<T, BusError> {
        loop {
            let (topic, _) = self.topic(target).await?;
            let state = topic.state.lock();
            if !state.dropped {
                return Ok(act(&topic, state));
            }
            // Its last member had left long ago, and it was taken away just now: make it anew.
        }
    }

    fn existing(&self, target: &Target) -> Option<Arc<Topic>> {
        self.topics.get(target).map(|topic| topic.clone())
    }

    /// Takes a connection out of a target.
    fn detach(&self, conn: &Arc<Conn>, target: &Target) {
        let Some(topic) = self.existing(target) else {
            return;
        };
        let mut state = topic.state.lock();
        state.remove(conn);
        if state.members.is_empty() {
            self.idle.push(target.clone());
        }
    }

    /// How many local connections a user has; for presence.
    pub fn local_connections(&self, user: &str) -> Vec<Arc<Conn>> {
        let topic = self.existing(&Target::user(user));
        topic
            .map(|topic| topic.state.lock().members.clone())
            .unwrap_or_default()
    }

    /// Brings one stored message to its members, in order and once.
    fn deliver_stored(&self, topic: &Topic, state: &mut TopicState, entry: &LogEntry) {
        let stored = match cluster::Stored::decode(entry.payload.clone()) {
            Ok(stored) => stored,
            Err(error) => {
                warn!(sequence = entry.sequence, %error, "an unreadable log entry");
                return;
            }
        };
        let log = self.bus.log.id().borrow().clone();
        let Some(log) = log else {
            return; // nothing is stored in a log that was never reached
        };
        if fanout::is_void(&stored, entry.time_ms) {
            self.metrics.void.increment(1);
            return;
        }
        if let Some(control) = stored.control {
            self.control(topic, state, control, entry.sequence);
            return;
        }
        if fanout::is_expired(&stored) {
            return;
        }
        let offset = Some(log.at(entry.sequence).to_string());
        fanout::deliver(&topic.target, &state.members, stored, offset, &self.metrics);
    }

    fn deliver_ephemeral(&self, topic: &Topic, state: &TopicState, copy: &LiveCopy) {
        match cluster::Stored::decode(copy.payload.clone()) {
            Ok(stored) => fanout::deliver(&topic.target, &state.members, stored, None, &self.metrics),
            Err(error) => warn!(%error, "an unreadable live message"),
        }
    }
}

impl LiveSink for Hub {
    fn live(&self, target: &Target, copy: LiveCopy) {
        let Some(topic) = self.existing(target) else {
            return; // the subscription is on its way out
        };
        let mut state = topic.state.lock();
        let Some(at) = copy.stored else {
            self.deliver_ephemeral(&topic, &state, &copy);
            return;
        };
        match state.sequencer.live(at.sequence, at.previous) {
            Step::Deliver => {
                let entry = LogEntry {
                    payload: copy.payload,
                    sequence: at.sequence,
                    time_ms: at.time_ms,
                };
                self.deliver_stored(&topic, &mut state, &entry);
            }
            Step::Duplicate => self.metrics.live_duplicates.increment(1),
            Step::Hold { begin } => {
                drop(state);
                if begin {
                    self.metrics.holes.increment(1);
                    self.repair(topic);
                }
            }
        }
    }
}
