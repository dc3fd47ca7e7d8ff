//! A router whose append was acknowledged in an unusual way says so: its live copies may never have been sent.

use std::{sync::Arc, time::Duration};

use herald_proto::{Target, cluster::Nudge};
use prost::Message as _;
use tracing::{debug, warn};

use super::Hub;

const RETRY: Duration = Duration::from_millis(500);

impl Hub {
    /// Listens until dropped. A nudge that is lost costs nothing but time: the sweep finds the message too.
    pub(super) async fn hear_nudges(self: Arc<Self>) {
        loop {
            match self.bus.pubsub.subscribe(&self.nudges).await {
                Ok(mut nudges) => {
                    while let Some(nudge) = nudges.next().await {
                        match Nudge::decode(nudge.payload) {
                            Ok(nudge) => self.hear_nudge(nudge),
                            Err(error) => warn!(%error, "an unreadable nudge"),
                        }
                    }
                }
                Err(error) => debug!(%error, "nudges cannot be heard yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn hear_nudge(&self, nudge: Nudge) {
        if let Some(target) = nudge.target.and_then(Target::from_proto) {
            self.look_at(&target, nudge.sequence);
        }
    }
}
