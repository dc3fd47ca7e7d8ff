//! The local side of every target: which connections of this node are to get a user's, a group's, everybody's messages.
//!
//! One [`Topic`] for each target with a local member holds the subscription, the members and the order. The bus hands
//! live copies to [`Hub::live`], which never waits: it puts frames into outboxes.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::{DashMap, mapref::entry::Entry};
use herald_proto::{Target, cluster, id, offset::Offset, subject::Names};
use herald_router::bus::{Bus, BusError, LiveCopy, LiveSink, LogEntry};
use parking_lot::MutexGuard;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{conn::Conn, event::Sent, metrics::Metrics};

mod anew;
mod catchup;
mod control;
mod entrance;
pub(crate) mod fanout;
mod idle;
mod members;
pub mod membership;
mod missed;
mod newest;
mod nudge;
mod patience;
mod reads;
mod repair;
mod replaced;
pub mod sequencer;
mod sweep;
mod tail;
mod topic;

pub use entrance::{Entered, Start};

use fanout::Comes;
use idle::Idle;
use membership::Orders;
use newest::Newests;
use reads::Reads;
use sequencer::Step;
use sweep::Rounds;
use topic::{Topic, TopicState};

/// Whoever waits for a delivery looks again so soon, and gives up after this.
const SOON: Duration = Duration::from_millis(2);
const A_MOMENT: Duration = Duration::from_secs(1);

pub struct Hub {
    /// Itself, for work that outlives a call.
    this: Weak<Hub>,
    topics: DashMap<Target, Arc<Topic>>,
    bus: Bus,
    /// The subject of the routers' nudges.
    nudges: String,
    idle: Idle,
    /// Group changes that came with live copies, to be acted on by a task that may wait.
    orders: Orders,
    newests: Newests,
    reads: Reads,
    rounds: Rounds,
    repairs: Semaphore,
    tasks: TaskTracker,
    metrics: Metrics,
}

impl Hub {
    /// `linger`: how long a subscription outlives its last local member.
    pub fn new(bus: Bus, names: &Names, linger: Duration, tasks: TaskTracker, metrics: Metrics) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            topics: DashMap::new(),
            bus,
            nudges: names.nudge(),
            idle: Idle::new(linger),
            orders: Orders::new(),
            newests: newest::batcher(),
            reads: Reads::default(),
            rounds: Rounds::new(),
            repairs: Semaphore::new(repair::ABREAST),
            tasks,
            metrics,
        })
    }

    /// The work that goes on beside the connections; ends when dropped.
    pub async fn run(self: Arc<Self>) {
        let bus = self.bus.clone();
        tokio::join!(
            self.clone().drop_idle(),
            self.clone().sweep_forever(),
            self.clone().hear_nudges(),
            self.newests
                .run(&self.tasks, move |questions| newest::answer(bus.clone(), questions)),
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
        if fresh {
            self.rounds.look_again(target.clone());
        }
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
        if state.members().is_empty() {
            self.idle.push(target.clone());
        }
    }

    /// Waits until what was sent has been given to this node's members of the target, or for a moment: another node
    /// may be the only one with members.
    pub async fn delivered(&self, target: &Target, sent: &Sent) {
        let Some(Ok(offset)) = sent.offset.as_deref().map(str::parse::<Offset>) else {
            return;
        };
        let given = async {
            while let Some(topic) = self.existing(target)
                && !topic.state.lock().sequencer.is_past(offset.sequence)
            {
                tokio::time::sleep(SOON).await;
            }
        };
        let _in_time = tokio::time::timeout(A_MOMENT, given).await.is_ok();
    }

    /// How many local connections a user has; for presence.
    pub fn local_connections(&self, user: &str) -> Vec<Arc<Conn>> {
        let topic = self.existing(&Target::user(user));
        topic
            .map(|topic| topic.state.lock().members().to_vec())
            .unwrap_or_default()
    }

    /// Brings one stored message to its members, in order and once.
    fn deliver_stored(&self, topic: &Topic, state: &mut TopicState, entry: &LogEntry) {
        state.passed(entry);
        let Some(stored) = Self::decoded(entry) else {
            return;
        };
        if let (Target::User(user), Some(control)) = (&topic.target, &stored.control)
            && !stored.is_void(entry.time_ms)
        {
            self.obey(user, state, control, entry.sequence);
        }
        self.give(&topic.target, state.live(), entry, stored, Comes::Live);
    }

    fn decoded(entry: &LogEntry) -> Option<cluster::Stored> {
        let stored = cluster::Stored::decode(entry.payload.clone());
        stored
            .inspect_err(|error| warn!(sequence = entry.sequence, %error, "an unreadable log entry"))
            .ok()
    }

    /// Gives `to` what a stored message is to clients: itself, news of a group, or nothing.
    fn give(&self, target: &Target, to: &[Arc<Conn>], entry: &LogEntry, stored: cluster::Stored, comes: Comes) {
        let Some(log) = self.bus.log.id().borrow().clone() else {
            return; // nothing is stored in a log that was never reached
        };
        if stored.is_void(entry.time_ms) {
            self.metrics.void.increment(1);
            return;
        }
        for conn in to {
            conn.progress.gave(self.round());
        }
        if let Some(control) = stored.control {
            self.tell_of(to, control, entry.sequence);
        } else if stored.is_expired(id::now_ms()) {
            self.metrics.expired.increment(to.len() as u64);
        } else {
            let offset = Some(log.at(entry.sequence).to_string());
            fanout::deliver(target, to, stored, offset, comes, &self.metrics);
        }
    }

    /// In no order with what is stored, so those who are still catching up get it too.
    fn deliver_ephemeral(&self, topic: &Topic, state: &TopicState, copy: &LiveCopy) {
        match cluster::Stored::decode(copy.payload.clone()) {
            Ok(stored) => {
                let to = state.members();
                fanout::deliver(&topic.target, to, stored, None, Comes::Live, &self.metrics);
            }
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

#[cfg(test)]
mod tests;
