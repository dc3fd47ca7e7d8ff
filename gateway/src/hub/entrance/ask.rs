//! The question what is newest of all that a connection enters.

use std::{sync::Arc, time::Duration};

use herald_proto::offset::Cursor;
use herald_router::bus::{Bounds, BusError};

use super::{Entry, Start};
use crate::hub::{
    Hub,
    newest::{Newest, Question},
};

/// How often a question is asked again while replicas lag, and how soon.
const LAGGING_ANSWERS: u32 = 50;
const LAG: Duration = Duration::from_millis(20);

impl Hub {
    /// What is newest, told to all that is entered. An answer from a replica that lags behind what was delivered here
    /// is of no use: the question is asked again.
    pub(super) async fn told_newest(&self, entries: &[Entry], start: &Start) -> Result<Arc<Newest>, BusError> {
        for _ in 0..LAGGING_ANSWERS {
            let newest = self.ask_newest(entries, start).await?;
            let told = entries.iter().map(|entry| {
                let told = newest.sequences.get(&entry.topic.target).copied();
                let mut state = entry.topic.state.lock();
                state.sequencer.told(newest.after, told, newest.upto)
            });
            // All are told, whatever the first of them says. What is below the watermark no sweep asks for again.
            let useless = told.filter(|useful| !useful).count();
            if useless == 0 && newest.upto >= self.watermark() {
                return Ok(newest);
            }
            tokio::time::sleep(LAG).await;
        }
        Err(BusError::Timeout)
    }

    /// The place of the cursor, if it is honoured: it is this log's, and the log reaches it.
    pub(super) async fn resuming(&self, start: &Start, newest: &Newest) -> Result<Option<u64>, BusError> {
        match start {
            Start::Cursor(cursor) if cursor.log == newest.log => {
                let ahead = self.is_ahead(cursor, newest).await?;
                Ok((!ahead).then_some(cursor.sequence))
            }
            _ => Ok(None),
        }
    }

    /// Whether the log ends before a cursor that it has given: it has lost its end since. Replicas that lag say nothing
    /// about that.
    async fn is_ahead(&self, cursor: &Cursor, newest: &Newest) -> Result<bool, BusError> {
        let beyond = |bounds: Bounds| bounds.last < cursor.newest();
        if !newest.bounds.is_some_and(beyond) {
            return Ok(false);
        }
        if !self.ends_before(cursor.newest()).await? {
            return Ok(false);
        }
        let bounds = self.bus.log.bounds().await?;
        if beyond(bounds) && bounds.last < self.watermark() {
            // This node is to notice first, and to begin again: so far it has no cursor to give.
            self.sweep_now();
            return Err(BusError::Unavailable("the log has lost its end".to_owned()));
        }
        Ok(beyond(bounds))
    }

    async fn ask_newest(&self, entries: &[Entry], start: &Start) -> Result<Arc<Newest>, BusError> {
        let after = match start {
            Start::Now => self.watermark(),
            // What is newer than the watermark this node may not have delivered yet, though the connection has it.
            Start::Cursor(cursor) if Some(&cursor.log) == self.bus.log.id().borrow().as_ref() => {
                cursor.sequence.min(self.watermark())
            }
            Start::Cursor(_) => self.watermark(),
            Start::Beginning => 0,
        };
        let question = Question {
            targets: entries.iter().map(|entry| entry.topic.target.clone()).collect(),
            after,
            bounds: matches!(start, Start::Cursor(_)),
        };
        let answer = self.newests.ask(question).await;
        answer.unwrap_or_else(|| Err(BusError::Unavailable("the node is ending".to_owned())))
    }
}
