//! One target on this node.

use std::{collections::HashMap, sync::Arc};

use herald_proto::Target;
use herald_router::bus::{Bus, BusError, LiveSubscription};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::{Hub, membership::Membership, sequencer::Sequencer};
use crate::conn::Conn;

pub(super) struct Topic {
    pub target: Target,
    subscription: OnceCell<LiveSubscription>,
    pub state: Mutex<TopicState>,
}

#[derive(Default)]
pub(super) struct TopicState {
    pub members: Vec<Arc<Conn>>,
    pub sequencer: Sequencer,
    /// Of a user's topic only: the groups that the user's connections belong to.
    pub groups: HashMap<Box<str>, Membership>,
    /// No longer in the table: nobody may be added.
    pub dropped: bool,
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

impl TopicState {
    pub fn add(&mut self, conn: &Arc<Conn>) {
        if !self.members.iter().any(|member| Arc::ptr_eq(member, conn)) {
            self.members.push(conn.clone());
        }
    }

    pub fn remove(&mut self, conn: &Arc<Conn>) {
        if let Some(at) = self.members.iter().position(|member| Arc::ptr_eq(member, conn)) {
            self.members.swap_remove(at);
            // A group that was large once must not stay so in memory.
            if self.members.capacity() > 64 && self.members.len() < self.members.capacity() / 4 {
                self.members.shrink_to(self.members.len() * 2);
            }
        }
    }
}
