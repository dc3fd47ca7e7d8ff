//! Reads a hole in a target's order from the log.

use std::sync::Arc;

use herald_proto::CloseCode;
use herald_router::bus::Page;
use tracing::{debug, warn};

use super::{Hub, patience::Patience, reads::PAGE, topic::Topic};
use crate::conn::Conn;

/// Holes that are read at once.
pub(super) const ABREAST: usize = 64;

impl Hub {
    pub(super) fn repair(&self, topic: Arc<Topic>) {
        if let Some(hub) = self.this.upgrade() {
            self.tasks.spawn(async move { hub.close_hole(&topic).await });
        }
    }

    async fn close_hole(&self, topic: &Topic) {
        let mut patience = Patience::new();
        let (mut begun, mut count) = (u64::MAX, 0);
        loop {
            let after = {
                let state = topic.state.lock();
                match state.sequencer.read_after() {
                    Some(after) if !state.dropped => after,
                    _ => return,
                }
            };
            begun = begun.min(after);
            let read = {
                let _place = self.repairs.acquire().await;
                self.bus.log.read(&topic.target, after, PAGE).await
            };
            let in_vain = match read {
                Ok(page) => {
                    let progress = !page.entries.is_empty();
                    let lacking = self.may_lack(&page, count, begun.max(self.watermark())).await;
                    count += page.entries.len() as u64;
                    let mut state = topic.state.lock();
                    if lacking {
                        // They come back with their cursors, and are told that something is missing.
                        let members = state.members().iter();
                        members.for_each(|conn| self.close_for_gap(conn));
                    }
                    for entry in &page.entries {
                        if state.sequencer.read(entry.sequence) {
                            self.deliver_stored(topic, &mut state, entry);
                        }
                    }
                    if state.sequencer.is_closed() {
                        return;
                    }
                    if progress {
                        patience.renew();
                        continue;
                    }
                    patience.in_vain()
                }
                Err(error) => {
                    debug!(%error, "a hole cannot be read yet");
                    false
                }
            };
            if in_vain {
                let wanted = topic.state.lock().sequencer.wanted();
                if self.is_gone(wanted).await {
                    warn!(
                        target_kind = topic.target.kind(),
                        "messages were announced that the log does not have"
                    );
                    self.metrics.holes_given_up.increment(1);
                    let mut state = topic.state.lock();
                    state.sequencer.give_up(wanted);
                    if state.sequencer.is_closed() {
                        // The next hole has a reader of its own.
                        return;
                    }
                }
            }
            tokio::time::sleep(patience.pause()).await;
        }
    }

    /// It comes back with its cursor, and is told what may be missing.
    pub(super) fn close_for_gap(&self, conn: &Arc<Conn>) {
        self.metrics.gaps_closed.increment(1);
        conn.close(CloseCode::Unavailable);
    }

    /// Whether the log may have trimmed messages after `after` before they were read: `before`, and what is in `page`.
    pub(super) async fn may_lack(&self, page: &Page, before: u64, after: u64) -> bool {
        let bounds = match self.bounds() {
            Some(bounds) => Ok(bounds),
            None => self.bus.log.bounds().await,
        };
        // Where that cannot be known it may be.
        bounds.map_or(true, |bounds| page.may_lack(before, after, bounds))
    }

    /// Whether the log certainly does not have this message: it was deleted. Replicas may lag for as long as they like.
    pub(super) async fn is_gone(&self, sequence: u64) -> bool {
        matches!(self.bus.log.get(sequence).await, Ok(None))
    }
}
