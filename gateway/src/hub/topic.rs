//! One target on this node.

use std::sync::Arc;

use herald_proto::Target;
use herald_router::bus::{Bus, BusError, LiveSubscription, LogEntry};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{Hub, members::Members, membership::Memberships, replaced::Replaced, sequencer::Sequencer, tail::Tail};
use crate::conn::Conn;

pub(super) struct Topic {
    pub target: Target,
    subscription: OnceCell<LiveSubscription>,
    pub state: Mutex<TopicState>,
}

pub(super) struct TopicState<T = Conn> {
    members: Members<T>,
    pub sequencer: Sequencer,
    /// What has come of late, while somebody is catching up.
    tail: Option<Box<Tail>>,
    /// Of a user's topic only: the groups that the user's connections belong to.
    pub groups: Memberships,
    /// Of a user's topic only: the connections that have made way of late.
    pub replaced: Replaced,
    /// No longer in the table: nobody may be added.
    pub dropped: bool,
}

/// How one who is behind goes on.
#[derive(Debug)]
pub(super) enum Joining {
    /// It is given these, and from now on what comes.
    Live(Vec<LogEntry>),
    /// The log must be read on.
    Behind,
    /// This node has not delivered yet what it has already.
    Early,
    /// It is no member any more.
    Gone,
}

impl Topic {
    pub fn new(target: Target) -> Arc<Self> {
        Arc::new(Self {
            target,
            subscription: OnceCell::new(),
            state: Mutex::default(),
        })
    }

    /// True where this call made the subscription.
    pub async fn subscribe(&self, bus: &Bus, hub: Arc<Hub>) -> Result<bool, BusError> {
        let mut fresh = false;
        let subscribe = async || {
            fresh = true;
            bus.log.subscribe(&self.target, hub.clone()).await
        };
        self.subscription.get_or_try_init(subscribe).await?;
        Ok(fresh)
    }
}

impl<T> Default for TopicState<T> {
    fn default() -> Self {
        Self {
            members: Members::default(),
            sequencer: Sequencer::default(),
            tail: None,
            groups: Memberships::new(),
            replaced: Replaced::default(),
            dropped: false,
        }
    }
}

/// Pure: of its members it knows only which one is which.
impl<T> TopicState<T> {
    /// Who is given what comes.
    pub fn live(&self) -> &[Arc<T>] {
        self.members.live()
    }

    /// Those who are still catching up included.
    pub fn members(&self) -> &[Arc<T>] {
        self.members.all()
    }

    /// Adds one who is still to catch up. False where it is a member already.
    pub fn add(&mut self, conn: &Arc<T>) -> bool {
        let added = self.members.add(conn);
        if added && self.tail.is_none() {
            self.tail = Some(Box::new(Tail::new(self.sequencer.position())));
        }
        added
    }

    pub fn has(&self, conn: &Arc<T>) -> bool {
        self.members.contains(conn)
    }

    pub fn is_catching_up(&self, conn: &Arc<T>) -> bool {
        self.members.is_catching_up(conn)
    }

    /// Whether one who has all up to `at` can go live at once.
    pub fn is_ready(&self, at: u64) -> bool {
        self.sequencer.is_current(at) && !self.sequencer.is_early(at)
    }

    /// `at` is the last message that `conn` has been given, or needs not.
    pub fn try_go_live(&mut self, conn: &Arc<T>, at: u64) -> Joining {
        if !self.is_catching_up(conn) {
            return Joining::Gone;
        }
        if self.sequencer.is_early(at) {
            return Joining::Early;
        }
        let rest = match &self.tail {
            _ if self.sequencer.is_current(at) => Vec::new(),
            Some(tail) => match tail.after(at) {
                Some(rest) => rest,
                None => return Joining::Behind,
            },
            None => return Joining::Behind,
        };
        self.go_live(conn);
        Joining::Live(rest)
    }

    /// From now on it is given what comes, and nothing of what was before.
    pub fn go_live(&mut self, conn: &Arc<T>) {
        self.members.go_live(conn);
        self.end_tail();
    }

    /// A message has been delivered to those who are live.
    pub fn passed(&mut self, entry: &LogEntry) {
        if let Some(tail) = &mut self.tail {
            tail.push(entry);
        }
    }

    pub fn remove(&mut self, conn: &Arc<T>) {
        self.members.remove(conn);
        self.end_tail();
    }

    /// Where nobody catches up any more, nobody needs it.
    fn end_tail(&mut self) {
        if self.members.all_live() {
            self.tail = None;
        }
    }
}

#[cfg(test)]
mod tests;
