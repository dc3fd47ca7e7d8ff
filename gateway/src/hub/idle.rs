//! Subscriptions outlive their last local member a little, so that a client that reconnects does not cost two changes of
//! interest in the whole cluster.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use herald_proto::Target;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Hub;

pub(super) struct Idle {
    linger: Duration,
    /// In the order of time. Bounded by the connections that ended within `linger`, each in a bounded number of groups.
    left: Mutex<VecDeque<(Instant, Target)>>,
}

impl Idle {
    pub fn new(linger: Duration) -> Self {
        Self {
            linger,
            left: Mutex::default(),
        }
    }

    /// The last member has left.
    pub fn push(&self, target: Target) {
        self.left.lock().push_back((Instant::now() + self.linger, target));
    }

    fn due(&self, now: Instant) -> Vec<Target> {
        let mut left = self.left.lock();
        let count = left.iter().take_while(|(at, _)| *at <= now).count();
        let due = left.drain(..count).map(|(_, target)| target).collect();
        if left.is_empty() {
            left.shrink_to(16);
        }
        due
    }
}

impl Hub {
    pub(super) async fn drop_idle(self: Arc<Self>) {
        let mut every = tokio::time::interval(self.idle.linger / 4);
        loop {
            every.tick().await;
            for target in self.idle.due(Instant::now()) {
                self.topics.remove_if(&target, |_, topic| {
                    let mut state = topic.state.lock();
                    state.dropped = state.members().is_empty();
                    state.dropped
                });
            }
        }
    }
}
