//! Reads a hole in a target's order from the log.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::{Hub, topic::Topic};

/// Messages in one read.
const PAGE: usize = 256;
/// Between reads, while a replica lags or the log cannot be reached.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A log that is reached but for so many reads does not show what was announced has lost it, by a deletion.
const FRUITLESS_READS: u32 = 30;

impl Hub {
    pub(super) fn repair(&self, topic: Arc<Topic>) {
        if let Some(hub) = self.this.upgrade() {
            self.tasks.spawn(async move { hub.close_hole(&topic).await });
        }
    }

    async fn close_hole(&self, topic: &Topic) {
        let mut pause = PAUSE;
        let mut fruitless = 0;
        loop {
            let after = {
                let state = topic.state.lock();
                match state.sequencer.read_after() {
                    Some(after) if !state.dropped => after,
                    _ => return,
                }
            };
            match self.bus.log.read(&topic.target, after, PAGE).await {
                Ok(entries) => {
                    let progress = !entries.is_empty();
                    let mut state = topic.state.lock();
                    for entry in &entries {
                        if state.sequencer.read(entry.sequence) {
                            self.deliver_stored(topic, &mut state, entry);
                        }
                    }
                    if state.sequencer.is_closed() {
                        return;
                    }
                    if progress {
                        fruitless = 0;
                        pause = PAUSE;
                        continue;
                    }
                    fruitless += 1;
                    if fruitless >= FRUITLESS_READS {
                        warn!(
                            target_kind = topic.target.kind(),
                            "messages were announced that the log does not have"
                        );
                        self.metrics.holes_given_up.increment(1);
                        state.sequencer.give_up();
                        return;
                    }
                }
                Err(error) => debug!(%error, "a hole cannot be read yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
