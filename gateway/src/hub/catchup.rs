//! A connection that is behind a target catches up: from the log, page by page at the pace of its reading, until what
//! is delivered to others joins on.

use std::sync::Arc;

use herald_proto::{CloseCode, LogId, Target, cluster::control::Order, offset::Cursor};
use herald_router::bus::{BusError, LogEntry, Page};
use tracing::{debug, warn};

use super::{
    Hub,
    patience::{PAUSE, Patience},
    topic::{Joining, Topic},
};
use crate::{conn::Conn, event::Push};

/// One target of one connection that is not complete yet.
pub(super) struct Behind {
    pub topic: Arc<Topic>,
    /// The last message that the connection has, or needs not.
    pub at: u64,
    /// The first page, if it has been read already.
    pub page: Option<Arc<Page>>,
    /// The client knows that messages may be gone for good.
    pub told_of_gap: bool,
}

impl Behind {
    pub fn new(topic: &Arc<Topic>, at: u64) -> Self {
        Self {
            topic: topic.clone(),
            at,
            page: None,
            told_of_gap: false,
        }
    }
}

impl Hub {
    /// Follows in a task of its own; the connection gets no cursor until all of it is done, and then `complete`.
    pub(super) fn catch_up(&self, conn: &Arc<Conn>, behind: Vec<Behind>, complete: Option<Cursor>) {
        let (Some(hub), false) = (self.this.upgrade(), behind.is_empty()) else {
            return;
        };
        let Some(log) = self.bus.log.id().borrow().clone() else {
            return;
        };
        let conn = conn.clone();
        conn.progress.fell_behind();
        self.tasks.spawn(async move {
            let topics: Vec<Arc<Topic>> = behind.iter().map(|target| target.topic.clone()).collect();
            for target in behind {
                if !hub.catch_up_with(&conn, &log, target).await {
                    return;
                }
            }
            conn.progress.entered(hub.round());
            // What this node knows of and has yet to deliver, to this connection as well, is not given yet.
            let delivered = |topic: &Arc<Topic>| !topic.state.lock().sequencer.is_behind();
            if let Some(cursor) = complete
                && topics.iter().all(delivered)
            {
                conn.progress.begin(cursor.sequence);
                let cursor = Push::Cursor(cursor.to_string());
                // Without room for it, the next sweep's does as well.
                let _ = conn.push(conn.dialect.push(&cursor));
            }
            conn.progress.caught_up();
        });
    }

    /// False where the connection has ended.
    async fn catch_up_with(&self, conn: &Arc<Conn>, log: &LogId, behind: Behind) -> bool {
        let Behind {
            topic,
            mut at,
            mut page,
            told_of_gap,
        } = behind;
        let from = at;
        // A page from a replica that lags holds too few: what counts is all that was read.
        let mut count = 0;
        let mut patience = Patience::new();
        loop {
            let read = match page.take() {
                Some(page) => Ok(page),
                None => self.reads.read(self.bus.log.as_ref(), &topic.target, at).await,
            };
            if self.bus.log.id().borrow().as_ref() != Some(log) {
                // It comes back with its cursor, and is told that the log is another.
                conn.close(CloseCode::Unavailable);
            }
            let (reached, progress) = match read {
                Ok(page) => {
                    if !told_of_gap && self.may_lack(&page, count, from).await {
                        // It comes back with its cursor, and is told.
                        conn.close(CloseCode::Unavailable);
                    }
                    count += page.entries.len() as u64;
                    (true, self.give_page(conn, &topic, &page, &mut at).await)
                }
                Err(error) => {
                    debug!(%error, "the log cannot be read yet");
                    (false, false)
                }
            };
            if !conn.outbox.is_open() {
                return false;
            }
            match self.try_go_live(conn, &topic, at) {
                Joining::Live(rest) => {
                    let rest = Page { entries: rest, left: 0 };
                    if !told_of_gap && self.may_lack(&rest, count, from).await {
                        conn.close(CloseCode::Unavailable);
                    }
                    return true;
                }
                Joining::Gone => return true,
                Joining::Behind => {}
                Joining::Early => {
                    page = Some(Arc::default());
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            if progress {
                patience.renew();
                continue;
            }
            if reached && patience.in_vain() {
                let newest = topic.state.lock().sequencer.newest();
                if self.is_gone(newest).await {
                    warn!(kind = topic.target.kind(), "the log does not have what was announced");
                    self.metrics.holes_given_up.increment(1);
                    topic.state.lock().go_live(conn);
                    return true;
                }
            }
            tokio::time::sleep(patience.pause()).await;
        }
    }

    /// False where there was nothing new in it.
    async fn give_page(&self, conn: &Arc<Conn>, topic: &Topic, page: &Page, at: &mut u64) -> bool {
        let begun = *at;
        for entry in &page.entries {
            if entry.sequence > *at {
                conn.outbox.room().await;
                self.give_one(conn, &topic.target, entry);
                *at = entry.sequence;
            }
        }
        if *at > begun {
            topic.state.lock().sequencer.heard_of(*at);
        }
        *at > begun
    }

    fn give_one(&self, conn: &Arc<Conn>, target: &Target, entry: &LogEntry) {
        let Some(stored) = Self::decoded(entry) else {
            return;
        };
        // A change that was made while nobody of the user was here is followed late, but it is.
        if let (Target::User(user), Some(Order::Group(change))) = (
            target,
            stored.control.as_ref().and_then(|control| control.order.as_ref()),
        ) {
            self.order(user, change, entry.sequence);
        }
        self.give(target, std::slice::from_ref(conn), entry, stored);
    }

    fn try_go_live(&self, conn: &Arc<Conn>, topic: &Topic, at: u64) -> Joining {
        let mut state = topic.state.lock();
        let joining = state.try_go_live(conn, at);
        match &joining {
            // Under the lock, so that nothing newer comes before these.
            Joining::Live(rest) => rest.iter().for_each(|entry| self.give_one(conn, &topic.target, entry)),
            Joining::Early => {
                let newest = state.sequencer.newest();
                drop(state);
                self.look_at(&topic.target, newest);
            }
            Joining::Behind | Joining::Gone => {}
        }
        joining
    }

    /// Reads the first page for one who is behind, to learn whether something is missing for good.
    pub(super) async fn first_page(&self, behind: &mut Behind) -> Result<(), BusError> {
        let page = self.reads.read(self.bus.log.as_ref(), &behind.topic.target, behind.at);
        behind.page = Some(page.await?);
        Ok(())
    }
}
