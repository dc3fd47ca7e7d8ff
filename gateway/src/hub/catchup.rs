//! A connection that is behind a target catches up: from the log, page by page at the pace of its reading, until what
//! is delivered to others joins on.

use std::sync::Arc;

use herald_proto::{CloseCode, LogId, Target, cluster::control::Order, offset::Cursor};
use herald_router::bus::{BusError, LogEntry, Page};
use tracing::{debug, warn};

use super::{
    Hub,
    control::{ends_group, purged_upto},
    fanout::Comes,
    newest::Newest,
    patience::{PAUSE, Patience},
    topic::{Joining, Topic, TopicState},
};
use crate::{conn::Conn, event::Push};

/// One target of one connection that is not complete yet.
pub(super) struct Behind {
    pub topic: Arc<Topic>,
    /// The last message that the connection has, or needs not.
    pub at: u64,
    /// The first page, if it has been read already.
    pub page: Option<Arc<Page>>,
    /// The newest message of the target that the log told of; 0: of none.
    pub newest: u64,
    /// What the client has, where that is more than all up to one place.
    pub given: Option<Arc<Cursor>>,
    /// The client knows that messages may be gone for good.
    pub told_of_gap: bool,
}

impl Behind {
    pub fn new(topic: &Arc<Topic>, at: u64) -> Self {
        Self {
            topic: topic.clone(),
            at,
            page: None,
            newest: 0,
            given: None,
            told_of_gap: false,
        }
    }

    /// The place before the first message that it is to be given, as far as that is known.
    pub fn before(&self) -> u64 {
        let first = self.page.as_ref().and_then(|page| page.entries.first());
        first.map_or(self.at, |entry| self.at.max(entry.sequence.saturating_sub(1)))
    }

    pub fn told(&mut self, newest: &Newest) {
        self.newest = newest.sequences.get(&self.topic.target).copied().unwrap_or(0);
    }
}

/// A connection's way through the log of one target.
struct Way<'a> {
    hub: &'a Hub,
    conn: &'a Arc<Conn>,
    log: &'a LogId,
    topic: Arc<Topic>,
    /// Where it began, and where it is.
    from: u64,
    at: u64,
    /// A page from a replica that lags holds too few: what counts is all that was read.
    count: u64,
    given: Option<Arc<Cursor>>,
    told_of_gap: bool,
    patience: Patience,
}

/// What a step on it came to.
enum Went {
    On,
    /// The log shows nothing new.
    Nowhere,
    /// The log cannot be read.
    Astray,
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
            // A group that was found to be joined on the way is entered by another task.
            if let Some(cursor) = complete
                && conn.progress.is_last_behind()
                && topics.iter().all(delivered)
            {
                conn.progress.begin(cursor.sequence);
                // Without room for it, the next sweep's does as well.
                let push = || conn.dialect.push(&Push::Cursor(cursor.to_string()));
                conn.tell_cursor(&cursor, hub.round(), || true, push);
            }
            conn.progress.caught_up();
        });
    }

    /// False where the connection has ended.
    async fn catch_up_with(&self, conn: &Arc<Conn>, log: &LogId, behind: Behind) -> bool {
        let mut page = behind.page;
        let mut way = Way {
            hub: self,
            conn,
            log,
            topic: behind.topic,
            from: behind.at,
            at: behind.at,
            count: 0,
            given: behind.given,
            told_of_gap: behind.told_of_gap,
            patience: Patience::new(),
        };
        loop {
            let went = way.go_on(page.take()).await;
            if !conn.outbox.is_open() {
                return false;
            }
            match self.try_go_live(&way) {
                Joining::Live(rest) => {
                    way.close_if_purged(&rest);
                    way.close_if_lacking(&Page { entries: rest, left: 0 }, way.from).await;
                    return true;
                }
                Joining::Gone => return true,
                Joining::Early => {
                    // It has all that the log has, and waits for this node.
                    page = Some(Arc::default());
                    tokio::time::sleep(PAUSE).await;
                }
                Joining::Behind => {
                    if way.ends_after(went).await {
                        return true;
                    }
                }
            }
        }
    }

    /// False where there was nothing new in it.
    async fn give_page(&self, way: &mut Way<'_>, page: &Page) -> bool {
        let begun = way.at;
        for entry in &page.entries {
            if entry.sequence > way.at {
                way.conn.outbox.room().await;
                // Under the lock: once a leave has been followed here, nothing more of the group is given.
                let mut state = way.topic.state.lock();
                if !state.is_catching_up(way.conn) {
                    break;
                }
                self.give_one(way, &mut state, entry);
                drop(state);
                way.at = entry.sequence;
            }
        }
        if way.at > begun {
            way.topic.state.lock().sequencer.heard_of(way.at);
        }
        way.at > begun
    }

    fn give_one(&self, way: &Way<'_>, state: &mut TopicState, entry: &LogEntry) {
        if way.given.as_ref().is_some_and(|given| given.covers(entry.sequence)) {
            return;
        }
        let target = &way.topic.target;
        let Some(stored) = Self::decoded(entry) else {
            return;
        };
        // A change that was made while nobody of the user was here is followed late, but it is.
        if let (Target::User(user), Some(Order::Group(change))) = (
            target,
            stored.control.as_ref().and_then(|control| control.order.as_ref()),
        ) {
            self.order(user, change, entry.sequence, std::slice::from_ref(way.conn));
        }
        let come = std::slice::from_ref(way.conn);
        let ends = stored.control.as_ref().is_some_and(ends_group);
        self.give(target, come, entry, stored, Comes::Replayed);
        if let (Target::Group(group), true) = (target, ends) {
            self.end_group(group, state, come, entry.sequence);
        }
    }

    fn try_go_live(&self, way: &Way<'_>) -> Joining {
        let topic = &way.topic;
        let mut state = topic.state.lock();
        let joining = state.try_go_live(way.conn, way.at);
        match &joining {
            // Under the lock, so that nothing newer comes before these.
            Joining::Live(rest) => {
                for entry in rest {
                    self.give_one(way, &mut state, entry);
                    // A group ends with its deletion: what stands behind that is for others.
                    if !state.has(way.conn) {
                        break;
                    }
                }
                // What is known of and below the watermark no sweep asks for again.
                let newest = state.sequencer.is_behind().then(|| state.sequencer.newest());
                drop(state);
                if let Some(newest) = newest {
                    self.look_at(&topic.target, newest);
                }
            }
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
    pub(super) async fn first_page(&self, behind: &mut Behind, newest: &Newest) -> Result<(), BusError> {
        behind.told(newest);
        let (log, target) = (self.bus.log.as_ref(), &behind.topic.target);
        let page = self.reads.read_until(log, target, behind.at, behind.newest);
        behind.page = Some(page.await?);
        Ok(())
    }
}

impl Way<'_> {
    /// Gives the next page, `page` if that has been read already.
    async fn go_on(&mut self, page: Option<Arc<Page>>) -> Went {
        let log = &self.hub.bus.log;
        let read = match page {
            Some(page) => Ok(page),
            None => self.hub.reads.read(log.as_ref(), &self.topic.target, self.at).await,
        };
        if log.id().borrow().as_ref() != Some(self.log) {
            // It comes back with its cursor, and is told that the log is another.
            self.conn.close(CloseCode::Unavailable);
        }
        let page = match read {
            Ok(page) => page,
            Err(error) => {
                debug!(%error, "the log cannot be read yet");
                return Went::Astray;
            }
        };
        self.close_if_lacking(&page, self.at).await;
        self.close_if_purged(&page.entries);
        self.count += page.entries.len() as u64;
        let hub = self.hub;
        match hub.give_page(self, &page).await {
            true => Went::On,
            false => Went::Nowhere,
        }
    }

    /// Where the log may have lost something before this page was read, the connection comes back with its cursor, and
    /// is told: by pages that are read afresh.
    async fn close_if_lacking(&self, page: &Page, after: u64) {
        if !self.told_of_gap && self.hub.may_lack(page, self.count, self.from).await {
            for place in [self.from, after] {
                self.hub.reads.drop_page(&self.topic.target, place);
            }
            self.hub.close_for_gap(self.conn);
        }
    }

    /// Where something was deleted before it could be given. Of what was gone when it connected it has been told; of what came
    /// since it has not.
    fn close_if_purged(&self, entries: &[LogEntry]) {
        let purged = purged_upto(entries);
        if purged > self.at && (!self.told_of_gap || self.conn.progress.was_before(purged)) {
            self.conn.close(CloseCode::Unavailable);
        }
    }

    /// One who is still behind waits, if waiting may help. True where it does not: what was announced is gone, and the
    /// connection goes on with what comes.
    async fn ends_after(&mut self, went: Went) -> bool {
        match went {
            Went::On => {
                self.patience.renew();
                return false;
            }
            Went::Nowhere if self.patience.in_vain() => {
                let newest = self.topic.state.lock().sequencer.newest();
                if self.hub.is_gone(newest).await {
                    warn!(
                        kind = self.topic.target.kind(),
                        "the log does not have what was announced"
                    );
                    self.hub.metrics.holes_given_up.increment(1);
                    self.topic.state.lock().go_live(self.conn);
                    return true;
                }
            }
            Went::Nowhere | Went::Astray => {}
        }
        tokio::time::sleep(self.patience.pause()).await;
        false
    }
}
