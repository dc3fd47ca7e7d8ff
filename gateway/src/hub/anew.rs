//! When the log was made anew (a store lost, a stream deleted), its sequences begin at 1 again. What connections have seen
//! of the old one says nothing of the new one: every target begins again, from the beginning of the new log.

use std::sync::Arc;

use herald_proto::Target;
use tracing::{info, warn};

use super::{Hub, fanout};
use crate::event::Push;

const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

impl Hub {
    /// Follows the log's identity, until dropped.
    pub(super) async fn follow_log(self: Arc<Self>) {
        let mut id = self.bus.log.id();
        let mut known = id.borrow_and_update().clone();
        while id.changed().await.is_ok() {
            let now = id.borrow_and_update().clone();
            if now.is_none() || now == known {
                continue;
            }
            if known.is_some() {
                warn!("the log was made anew: every target begins again");
                self.begin_again().await;
            }
            known = now;
        }
    }

    async fn begin_again(&self) {
        self.forget_watermark();
        self.tell_of_loss();
        let topics: Vec<_> = self.topics.iter().map(|entry| entry.value().clone()).collect();
        for topic in &topics {
            let mut state = topic.state.lock();
            state.sequencer.restart();
            // Changes of groups are numbered by the log as well.
            for membership in state.groups.values_mut() {
                membership.sequence = 0;
            }
        }
        // What was stored before this node noticed had copies that were taken for old ones.
        let targets: Vec<Target> = topics.iter().map(|topic| topic.target.clone()).collect();
        let newer = loop {
            match self.bus.log.newer(&targets, 0).await {
                Ok(newer) => break newer.targets,
                Err(error) => info!(%error, "the new log cannot be read yet"),
            }
            tokio::time::sleep(RETRY).await;
        };
        for (target, sequence) in newer {
            self.look_at(&target, sequence);
        }
    }

    /// What was stored in the old log and not yet delivered is gone: nobody shall be left to believe otherwise.
    fn tell_of_loss(&self) {
        let Some(everybody) = self.existing(&Target::All) else {
            return;
        };
        let connected = everybody.state.lock().members().to_vec();
        let notice = Push::Notice {
            code: "gap",
            message: "the log was made anew: messages may be gone for good",
        };
        for conn in &connected {
            conn.progress.begin(0);
            conn.progress.connected(0);
        }
        fanout::push_to(&connected, &notice, true, &self.metrics);
    }
}
