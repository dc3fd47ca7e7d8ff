//! How a connection becomes a member of all that is its user's, from one definite place in the log on.
//!
//! First everything is subscribed to; then one question, shared with all who connect at this moment, tells what is
//! newest; what the connection has missed is then read, and what comes joins on. Whatever was stored in between is
//! found by the question or comes live.

use std::sync::Arc;

use herald_proto::{Target, cluster::GroupMembership, offset::Cursor};
use herald_router::bus::BusError;

use super::{
    Hub,
    catchup::Behind,
    control::purged_upto,
    membership::Membership,
    newest::Newest,
    topic::{Topic, TopicState},
};
use crate::conn::Conn;

mod ask;
mod group;

/// From where on a connection wants messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// What comes from now on.
    Now,
    /// What came after this as well.
    Cursor(Cursor),
    /// All that is kept of the own inbox, and what comes.
    Beginning,
}

/// What became of it.
pub struct Entered {
    pub groups: Vec<String>,
    /// All up to here has been given, or was before the connection's time.
    pub cursor: Cursor,
    pub resumed: bool,
    pub gap: bool,
    /// All up to here will have been given when what was missed has been.
    pub(super) complete: Cursor,
    pub(super) behind: Vec<Behind>,
}

/// A target with the place from which on the connection wants it.
struct Entry {
    topic: Arc<Topic>,
    /// None: from now on.
    from: Option<u64>,
    /// Delivery had begun here before this connection came.
    begun: bool,
}

impl Hub {
    /// Adds a connection to its user's inbox and to broadcasts. From here on changes of groups cover it.
    pub async fn announce(self: &Arc<Self>, conn: &Arc<Conn>, user: &Arc<str>) -> Result<(), BusError> {
        for target in [Target::user(user.clone()), Target::All] {
            self.with_topic(&target, |_, mut state| state.add(conn)).await?;
        }
        Ok(())
    }

    /// Adds an announced connection to its user's groups, those told by the router and what has changed since, and to
    /// everything from `start` on. What it has missed is given by [`Self::follow`].
    pub async fn enter(
        self: &Arc<Self>,
        conn: &Arc<Conn>,
        user: &Arc<str>,
        start: &Start,
        told: &[GroupMembership],
    ) -> Result<Entered, BusError> {
        let inbox = Target::user(user.clone());
        let groups = self.groups_of(&inbox, told).await?;
        let mut entries = Vec::with_capacity(groups.len() + 2);
        for target in [inbox.clone(), Target::All] {
            entries.push(self.entry(conn, &target, 0).await?);
        }
        for (name, since) in &groups {
            entries.push(self.entry(conn, &Target::group(name.clone()), *since).await?);
        }
        let newest = self.told_newest(&entries, start).await?;
        let resuming = self.resuming(start, &newest).await?;
        for entry in &mut entries {
            entry.start(start, resuming, &inbox, &newest);
        }
        let delivered = entries
            .iter()
            .filter_map(|entry| entry.topic.state.lock().sequencer.position());
        let delivered = delivered.max().unwrap_or(0);
        let mut behind = self.go_live_or_behind(conn, entries, &newest).await?;
        let lost = match (start, resuming) {
            (Start::Cursor(_), None) => true,
            (_, Some(at)) => newest.bounds.is_some_and(|bounds| {
                let lacks = |behind: &Behind| {
                    let page = behind.page.as_ref();
                    page.is_some_and(|page| page.may_lack(0, at, bounds) || purged_upto(&page.entries) > behind.at)
                };
                bounds.first > at + 1 || behind.iter().any(lacks)
            }),
            (Start::Now | Start::Beginning, None) => false,
        };
        let given = match start {
            Start::Cursor(cursor) if resuming.is_some() && !cursor.beyond().is_empty() => {
                Some(Arc::new(cursor.clone()))
            }
            _ => None,
        };
        for one in &mut behind {
            // Who asks for all that is kept asks for no more.
            one.told_of_gap = lost || *start == Start::Beginning;
            one.given.clone_from(&given);
        }
        let sequence = match resuming {
            // Not given yet: should the connection end before it is, the client still needs it. But what is gone for
            // good nobody can be given.
            Some(at) if !behind.is_empty() => newest
                .bounds
                .map_or(at, |bounds| at.max(bounds.first.saturating_sub(1))),
            Some(at) => at.max(newest.upto),
            // What others were given before is not for this one, though a lagging replica may not have known of it.
            None => newest.upto.max(delivered),
        };
        // Nor is what is kept of the inbox: should the connection end before it is, the client comes back to its beginning. What a
        // replica that lags does not know of was given to nobody of this inbox, whatever others were given: not even when all
        // that is known of has been given is it covered.
        let place = match start {
            Start::Beginning => behind.iter().map(Behind::before).fold(newest.upto, u64::min),
            Start::Now | Start::Cursor(_) => sequence,
        };
        let complete = match start {
            Start::Beginning => newest.upto,
            Start::Now | Start::Cursor(_) => sequence.max(newest.upto),
        };
        conn.progress.begin(sequence);
        conn.progress.connected(newest.upto.max(delivered));
        conn.progress.entered(self.round());
        Ok(Entered {
            groups: groups.into_iter().map(|(name, _)| name).collect(),
            cursor: Cursor::new(newest.log.clone(), place),
            resumed: resuming.is_some(),
            gap: lost,
            complete: Cursor::new(newest.log.clone(), complete),
            behind,
        })
    }

    /// Gives what was missed, behind the welcome.
    pub fn follow(&self, conn: &Arc<Conn>, entered: Entered) {
        if !entered.behind.is_empty() {
            conn.progress.gave(self.round());
            self.catch_up(conn, entered.behind, Some(entered.complete));
        }
    }

    /// A user's groups by name, each with the offset from which on the membership counts.
    async fn groups_of(
        self: &Arc<Self>,
        inbox: &Target,
        told: &[GroupMembership],
    ) -> Result<Vec<(String, u64)>, BusError> {
        self.with_topic(inbox, |_, mut state| {
            for GroupMembership { group, from_sequence } in told {
                let joined = Membership {
                    sequence: *from_sequence,
                    joined: true,
                };
                state.note(group, joined);
            }
            let joined = state.groups.iter().filter(|(_, membership)| membership.joined);
            let mut groups: Vec<(String, u64)> = joined.map(|(name, m)| (name.to_string(), m.sequence)).collect();
            groups.sort_unstable();
            groups
        })
        .await
    }

    async fn entry(self: &Arc<Self>, conn: &Arc<Conn>, target: &Target, since: u64) -> Result<Entry, BusError> {
        self.with_topic(target, |topic, mut state| {
            state.add(conn);
            Entry::new(topic, &state, since)
        })
        .await
    }

    /// Reads the beginning of what was missed; then, with nothing more that can fail, makes the connection live wherever
    /// it has missed nothing.
    async fn go_live_or_behind(
        &self,
        conn: &Arc<Conn>,
        entries: Vec<Entry>,
        newest: &Newest,
    ) -> Result<Vec<Behind>, BusError> {
        let mut behind = Vec::new();
        let mut current = Vec::new();
        for entry in entries {
            match entry.missed() {
                Some(at) => behind.push(Behind::new(&entry.topic, at)),
                None => current.push(entry),
            }
        }
        for one in &mut behind {
            self.first_page(one, newest).await?;
        }
        for Entry { topic, from, .. } in current {
            let mut state = topic.state.lock();
            match from {
                Some(at) if !state.is_ready(at) => {
                    let mut one = Behind::new(&topic, at);
                    one.told(newest);
                    behind.push(one);
                }
                _ => state.go_live(conn),
            }
        }
        Ok(behind)
    }
}

impl Entry {
    fn new(topic: &Arc<Topic>, state: &TopicState, since: u64) -> Self {
        Self {
            topic: topic.clone(),
            from: Some(since),
            begun: state.sequencer.position().is_some(),
        }
    }

    /// From where on the connection has missed something.
    fn missed(&self) -> Option<u64> {
        let state = self.topic.state.lock();
        self.from.filter(|at| !state.is_ready(*at))
    }

    /// `from` holds the offset since when the user belongs to the target.
    fn start(&mut self, start: &Start, resuming: Option<u64>, inbox: &Target, newest: &Newest) {
        let since = self.from.unwrap_or(0);
        self.from = match (start, resuming) {
            (Start::Beginning, _) if self.topic.target == *inbox => Some(0),
            (_, Some(at)) => Some(at.max(since)),
            // What was delivered to others before this moment is not for this one.
            (_, None) if self.begun => None,
            (_, None) => {
                let told = newest.sequences.get(&self.topic.target);
                Some(told.copied().unwrap_or(newest.upto))
            }
        };
    }
}
