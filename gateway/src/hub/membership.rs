//! Which groups a user's local connections belong to.
//!
//! Three sources tell of it: the router's answer when a user connects, its answers to `join` and `leave`, and the control
//! messages in the user's own log, which come to every gateway that serves the user. Each carries the offset of the
//! change, so that the newest wins in whatever order they come.

use std::sync::Arc;

use herald_proto::{
    Target,
    cluster::{Control, GroupMembership, control::Order},
};
use herald_router::bus::BusError;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    Hub, fanout,
    topic::{Topic, TopicState},
};
use crate::{conn::Conn, event::Push};

/// Group changes that may wait. Each takes microseconds.
const WAITING: usize = 65_536;

/// Groups of one user that are remembered, those that were left included: a client that joins and leaves for ever must
/// not fill the memory.
const REMEMBERED: usize = 4096;

/// The newest that is known of a user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    pub sequence: u64,
    pub joined: bool,
}

/// A change of a user's groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub user: Box<str>,
    pub group: Box<str>,
    pub sequence: u64,
    pub joined: bool,
}

/// From the bus' tasks, which must not wait, to the one that acts.
pub(super) struct Orders {
    sender: mpsc::Sender<Change>,
    receiver: Mutex<Option<mpsc::Receiver<Change>>>,
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
    while let Some(change) = receiver.recv().await {
        if let Err(error) = hub.apply(&change).await {
            warn!(%error, "a change of groups could not be followed");
            hub.metrics.orders_failed.increment(1);
        }
    }
}

impl TopicState {
    /// False where something newer is known already.
    fn note(&mut self, group: &str, now: Membership) -> bool {
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
                self.groups.insert(group.into(), now);
                true
            }
        }
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|m| m.joined)
    }
}

impl Hub {
    /// A control message from a user's log.
    pub(super) fn control(&self, topic: &Topic, state: &mut TopicState, control: Control, sequence: u64) {
        let Target::User(user) = &topic.target else {
            return;
        };
        let Some(Order::Group(change)) = control.order else {
            return; // a newer router's order, which this version does not know
        };
        let push = Push::Group {
            group: change.group.clone(),
            joined: change.joined,
        };
        fanout::push_to(&state.members, &push, true, &self.metrics);
        let change = Change {
            user: user.clone(),
            group: change.group.into(),
            sequence,
            joined: change.joined,
        };
        if self.orders.sender.try_send(change).is_err() {
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
        if !change.joined {
            if known {
                let members = user.state.lock().members.clone();
                for conn in members {
                    self.detach(&conn, &group);
                }
            }
            return Ok(());
        }
        self.with_topic(&group, |_, mut group| {
            // The user may have left again while the subscription was made.
            let user = user.state.lock();
            if user.is_in(&change.group) {
                for conn in &user.members {
                    group.add(conn);
                }
            }
        })
        .await
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

    /// Adds a connection to its user's inbox and to broadcasts. From here on changes of groups cover it.
    pub async fn enter(self: &Arc<Self>, conn: &Arc<Conn>, user: &str) -> Result<(), BusError> {
        self.with_topic(&Target::user(user), |_, mut state| state.add(conn))
            .await?;
        self.with_topic(&Target::All, |_, mut state| state.add(conn)).await
    }

    /// Adds a connection to its user's groups, those told by the router and what has changed since; returns their names.
    pub async fn enter_groups(
        self: &Arc<Self>,
        conn: &Arc<Conn>,
        user: &str,
        told: &[GroupMembership],
    ) -> Result<Vec<String>, BusError> {
        let inbox = Target::user(user);
        let names = self
            .with_topic(&inbox, |_, mut state| {
                for GroupMembership { group, from_sequence } in told {
                    let joined = Membership {
                        sequence: *from_sequence,
                        joined: true,
                    };
                    state.note(group, joined);
                }
                let joined = state.groups.iter().filter(|(_, m)| m.joined);
                let mut names: Vec<String> = joined.map(|(name, _)| name.to_string()).collect();
                names.sort_unstable();
                names
            })
            .await?;
        self.subscribe_all(&names).await?;
        for name in &names {
            self.add_to_group(conn, &inbox, name).await?;
        }
        Ok(names)
    }

    /// Adds one connection to a group, if its user still is in it.
    async fn add_to_group(self: &Arc<Self>, conn: &Arc<Conn>, inbox: &Target, name: &str) -> Result<(), BusError> {
        let Some(user) = self.existing(inbox) else {
            return Ok(());
        };
        self.with_topic(&Target::group(name), |_, mut group| {
            if user.state.lock().is_in(name) {
                group.add(conn);
            }
        })
        .await
    }

    /// Makes the subscriptions to groups that have no local member yet, and waits until the server knows of them.
    async fn subscribe_all(self: &Arc<Self>, groups: &[String]) -> Result<(), BusError> {
        let mut fresh = false;
        for group in groups {
            let target = Target::group(group.as_str());
            let (_, made) = self.topic(&target).await?;
            if made {
                self.idle.push(target);
                fresh = true;
            }
        }
        if fresh {
            self.bus.pubsub.fence().await?;
        }
        Ok(())
    }

    /// Takes a connection out of everything.
    pub fn detach_all(&self, conn: &Arc<Conn>, user: &str) {
        let inbox = Target::user(user);
        if let Some(topic) = self.existing(&inbox) {
            let groups: Vec<Target> = {
                let state = topic.state.lock();
                state.groups.keys().map(|name| Target::group(name.clone())).collect()
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
