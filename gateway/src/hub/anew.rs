//! When the log is no longer what it was, its sequences are given out again, and what connections have seen of it says
//! nothing of what comes. It was made anew (a store lost, a stream deleted) and begins at 1; or it is the same one and has
//! lost its end (a power loss, a restored backup). Every target begins again, from where the log is still the same.
//!
//! It may also have lost its beginning, up to what may not have been delivered yet: by somebody's hand.

use std::time::Duration;

use herald_proto::{LogId, Target};
use herald_router::bus::{Bounds, BusError};
use tokio::time::sleep;
use tracing::warn;

use super::{Hub, fanout};
use crate::event::Push;

/// Between two looks at the log's end: routers let it grow once a second.
const LOOK: Duration = Duration::from_millis(1_200);
const LOOKS: usize = 4;
/// So often it must have been seen to grow.
const GROWN: usize = 2;

impl Hub {
    /// Called by each sweep before all else, and by nobody else: nothing of the sweep's may go on meanwhile.
    pub(super) fn follow_log(&self, log: &LogId) {
        if self.rounds.is_another(log) {
            warn!("the log was made anew: every target begins again");
            self.begin_again(0);
        }
    }

    /// True where the log that is there now has lost what this node has seen of it: then every target has begun again.
    pub(super) async fn follow_end(&self, bounds: Bounds) -> Result<bool, BusError> {
        let Some(before) = self.bounds() else {
            return Ok(false);
        };
        if !self.has_lost_its_end(before, bounds).await? {
            return Ok(false);
        }
        // What was stored later than all that was seen is new, whatever its sequence. Where that cannot be known, what
        // was stored until now is in the gap that is told.
        let anew = self.bus.log.first_since(before.last_ms + 1).await.ok().flatten();
        let same = anew.map_or(bounds.last, |first| first.saturating_sub(1));
        warn!(
            had = before.last,
            same, "the log has lost its end: every target begins again"
        );
        self.begin_again(same.min(before.last));
        Ok(true)
    }

    /// All before `first` is gone. Of what was stored behind the watermark nobody knows whether its live copies came: those
    /// who are connected come back with their cursors, and are told. Routine trimming never gets there.
    pub(super) fn close_lacking(&self, first: u64) {
        let watermark = self.watermark();
        let Some(everybody) = self.existing(&Target::All) else {
            return;
        };
        if watermark == 0 || first <= watermark + 1 {
            return;
        }
        warn!(watermark, first, "the log has lost what may not have been delivered");
        let connected: Vec<_> = everybody.state.lock().members().to_vec();
        for conn in connected.iter().filter(|conn| conn.progress.may_lack(first)) {
            self.close_for_gap(conn);
        }
    }

    /// Whether the log ends before a place that it once had. A leader that has stood still, or was cut off from the other
    /// servers, takes itself for the leader for some seconds more, and tells an old end; and a new one may have yet to apply
    /// what it has, for moments. So this is believed only of a log that goes on growing, and still ends before that place.
    pub(super) async fn ends_before(&self, place: u64) -> Result<bool, BusError> {
        let (mut last, mut grown) = (u64::MAX, 0);
        for _ in 0..LOOKS {
            let bounds = self.bus.log.bounds().await?;
            if bounds.last >= place {
                return Ok(false);
            }
            grown = if bounds.last > last { grown + 1 } else { 0 };
            if grown == GROWN {
                return Ok(true);
            }
            last = bounds.last;
            sleep(LOOK).await;
        }
        Err(BusError::Unavailable(
            "the log's end is not known: it does not grow".to_owned(),
        ))
    }

    /// `before` is what the last sweep found.
    async fn has_lost_its_end(&self, before: Bounds, now: Bounds) -> Result<bool, BusError> {
        let seen = before.last.max(self.watermark());
        if now.last < seen && self.ends_before(seen).await? {
            return Ok(true);
        }
        if before.last == 0 || now == before {
            return Ok(false);
        }
        // It may have grown beyond that since: with another message in the same place. One that is gone says nothing.
        let there = self.bus.log.get(before.last).await?;
        Ok(there.is_some_and(|entry| entry.time_ms != before.last_ms))
    }

    /// Up to `same` the log is what it was. What was stored behind that before this node noticed had copies that were
    /// taken for old ones: the sweep finds it.
    fn begin_again(&self, same: u64) {
        self.move_watermark_back(same);
        let topics: Vec<_> = self.topics.iter().map(|entry| entry.value().clone()).collect();
        for topic in &topics {
            let mut state = topic.state.lock();
            state.sequencer.restart(same);
            // Changes of groups are numbered by the log as well.
            for (_, membership) in &mut state.groups {
                membership.sequence = membership.sequence.min(same);
            }
            // Their places in the log say nothing any more. They come back, and are told.
            let catching_up = &state.members()[state.live().len()..];
            catching_up.iter().for_each(|conn| self.close_for_gap(conn));
        }
        self.tell_of_loss(same);
    }

    /// What was stored in the old log and not yet delivered is gone: nobody shall be left to believe otherwise.
    fn tell_of_loss(&self, same: u64) {
        let Some(everybody) = self.existing(&Target::All) else {
            return;
        };
        let connected = everybody.state.lock().members().to_vec();
        let notice = Push::Notice {
            code: "gap",
            message: "the log is not what it was: messages may be gone for good",
        };
        for conn in &connected {
            conn.progress.begin_again(same, self.round());
        }
        self.metrics.gaps_noticed.increment(connected.len() as u64);
        fanout::push_to(&connected, &notice, true, &self.metrics);
    }
}
