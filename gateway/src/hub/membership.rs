//! Which groups a user's local connections belong to.
//!
//! Three sources tell of it: the router's answer when a user connects, its answers to `join` and `leave`, and the control
//! messages in the user's own log, which come to every gateway that serves the user. Each carries the offset of the
//! change, so that the newest wins in whatever order they come.

use std::{sync::Arc, time::Duration};

use herald_proto::{Target, cluster::GroupChange};
use herald_router::bus::BusError;
use litemap::LiteMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{
    Hub,
    topic::{Topic, TopicState},
};
use crate::conn::{Conn, progress::Incomplete};

/// Group changes that may wait. Each takes microseconds.
const WAITING: usize = 65_536;

/// Groups of one user that are remembered, those that were left included: a client that joins and leaves for ever must
/// not fill the memory.
const REMEMBERED: usize = 4096;

/// How often, and how soon, a change is tried again: for longer than NATS takes to fail over.
const TRIES: u32 = 60;
const RETRY: Duration = Duration::from_secs(1);

/// The newest that is known of a user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    pub sequence: u64,
    pub joined: bool,
}

/// Of all a user's groups.
pub type Memberships = LiteMap<Box<str>, Membership>;

/// A change of a user's groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub user: Arc<str>,
    pub group: Arc<str>,
    pub sequence: u64,
    pub joined: bool,
}

/// From the bus' tasks, which must not wait, to the one that acts.
pub(super) struct Orders {
    sender: mpsc::Sender<Ordered>,
    receiver: Mutex<Option<mpsc::Receiver<Ordered>>>,
}

/// A change, and those who have been told of it: until it is followed they get no cursor, which would cover what the
/// group got in between.
struct Ordered {
    change: Change,
    _told: Vec<Incomplete>,
}

impl Orders {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

pub(super) async fn run(hub: Arc<Hub>) {
    let receiver = hub.orders.receiver.lock().take();
    let Some(mut receiver) = receiver else {
        return;
    };
    while let Some(ordered) = receiver.recv().await {
        // One after another would let one slow change hold up all others; each knows by its offset whether it is the newest.
        let follower = hub.clone();
        hub.tasks.spawn(async move { follower.apply_patiently(&ordered).await });
    }
}

impl TopicState {
    /// False where something newer is known already.
    pub(super) fn note(&mut self, group: &str, now: Membership) -> bool {
        match self.groups.get_mut(group) {
            Some(known) if known.sequence >= now.sequence => false,
            Some(known) => {
                *known = now;
                true
            }
            None => {
                if self.groups.len() >= REMEMBERED {
                    self.groups.retain(|_, membership| membership.joined);
                }
                if self.groups.is_empty() {
                    // Most have one: the first growth would make room for four.
                    self.groups = Memberships::with_capacity(1);
                }
                self.groups.insert(group.into(), now);
                true
            }
        }
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|m| m.joined)
    }
}

impl Hub {
    /// Has a change followed, by the task that may wait. `told` are the connections that come to it now.
    pub(super) fn order(&self, user: &str, change: &GroupChange, sequence: u64, told: &[Arc<Conn>]) {
        let change = Change {
            user: user.into(),
            group: change.group.as_str().into(),
            sequence,
            joined: change.joined,
        };
        let ordered = Ordered {
            _told: told.iter().map(Incomplete::new).collect(),
            change,
        };
        if self.orders.sender.try_send(ordered).is_err() {
            warn!("too many changes of groups at once");
            self.metrics.orders_failed.increment(1);
        }
    }

    /// Follows a change with all of the user's local connections.
    pub async fn apply(self: &Arc<Self>, change: &Change) -> Result<(), BusError> {
        let user = Target::User(change.user.clone());
        let group = Target::Group(change.group.clone());
        let Some(user) = self.existing(&user) else {
            return Ok(()); // nobody of this user is here any more
        };
        let now = Membership {
            sequence: change.sequence,
            joined: change.joined,
        };
        let known = user.state.lock().note(&change.group, now);
        if change.joined {
            return self.enter_all(&user, &change.group, change.sequence).await;
        }
        if known {
            let members = user.state.lock().members().to_vec();
            for conn in members {
                self.detach(&conn, &group);
            }
        }
        Ok(())
    }

    /// What could not be followed while the log was out of reach is followed later.
    async fn apply_patiently(self: &Arc<Self>, ordered: &Ordered) {
        for _ in 0..TRIES {
            match self.apply(&ordered.change).await {
                Ok(()) => return,
                Err(error) => debug!(%error, "a change of groups cannot be followed yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
        warn!("a change of groups could not be followed");
        self.metrics.orders_failed.increment(1);
    }

    /// Adds all of a user's connections to a group, from the change on by which the user joined.
    async fn enter_all(self: &Arc<Self>, user: &Arc<Topic>, name: &str, since: u64) -> Result<(), BusError> {
        let members = user.state.lock().members().to_vec();
        for conn in members {
            conn.progress.fell_behind();
            let behind = self.enter_group(&conn, user, name, since).await;
            conn.progress.entered(self.round());
            conn.progress.caught_up();
            self.catch_up(&conn, behind?, None);
        }
        Ok(())
    }

    /// The users that have connections here.
    pub fn users(&self) -> Vec<Arc<str>> {
        let topics = self.topics.iter().filter_map(|topic| match topic.key() {
            Target::User(user) if !topic.state.lock().members().is_empty() => Some(user.clone()),
            _ => None,
        });
        topics.collect()
    }

    pub fn user_count(&self) -> usize {
        let present = |target: &Target, topic: &Topic| {
            matches!(target, Target::User(_)) && !topic.state.lock().members().is_empty()
        };
        self.topics.iter().filter(|topic| present(topic.key(), topic)).count()
    }

    /// What is known of a user's groups.
    pub fn memberships(&self, user: &str) -> Memberships {
        let topic = self.existing(&Target::user(user));
        topic.map(|topic| topic.state.lock().groups.clone()).unwrap_or_default()
    }

    /// Subscribes to a group before its join is asked for: the answer then proves that the server knows of the
    /// subscription, so that nothing sent after the answer is missed.
    pub async fn prepare(self: &Arc<Self>, group: &str) -> Result<(), BusError> {
        let target = Target::group(group);
        self.topic(&target).await?;
        // Should nobody be added, it goes again.
        self.idle.push(target);
        Ok(())
    }

    /// Takes a connection out of everything.
    pub fn detach_all(&self, conn: &Arc<Conn>, user: &str) {
        let inbox = Target::user(user);
        if let Some(topic) = self.existing(&inbox) {
            let groups: Vec<Target> = {
                let state = topic.state.lock();
                state.groups.keys().map(|name| Target::group(&**name)).collect()
            };
            // The inbox first: from then on no change of groups can add the connection again.
            self.detach(conn, &inbox);
            for group in groups {
                self.detach(conn, &group);
            }
        }
        self.detach(conn, &Target::All);
    }
}
