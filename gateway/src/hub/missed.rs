//! What a client that does not stay has missed, in the log's one order: then one place says what it has been given, and
//! there is no need to wait until all of it has been.

use std::{collections::HashMap, sync::Arc, time::Duration};

use herald_proto::{LogId, Target, cluster::control::Order, id, offset::Cursor};
use herald_router::bus::LogEntry;

use super::{Entered, Hub, catchup::Behind};
use crate::{conn::Conn, event::Message};

/// For longer than this a router's table does not lag: who it says is no member of a group is none.
const LAG: Duration = Duration::from_secs(30);

/// Of what was missed that which can be given.
pub struct Missed {
    /// Ascending, each with its target; what is no message is among them.
    pub entries: Vec<(Target, LogEntry)>,
    /// All up to here that concerns the client is among them.
    pub upto: u64,
}

impl Hub {
    /// As far as the first pages of all targets go.
    pub fn missed(&self, entered: &Entered) -> Missed {
        let upto = entered.behind.iter().filter_map(Behind::known_upto);
        let upto = upto.fold(entered.complete.sequence, u64::min);
        let pages = entered
            .behind
            .iter()
            .filter_map(|behind| Some((behind, behind.page.as_ref()?)));
        let mut entries: Vec<(Target, LogEntry)> = pages
            .flat_map(|(behind, page)| {
                let new = page.entries.iter().filter(|entry| entry.sequence > behind.at);
                new.map(|entry| (behind.topic.target.clone(), entry.clone()))
            })
            .collect();
        entries.sort_unstable_by_key(|(_, entry)| entry.sequence);
        let upto = unfamiliar(&entries, &entered.groups, id::now_ms()).map_or(upto, |join| upto.min(join - 1));
        entries.retain(|(_, entry)| entry.sequence <= upto);
        Missed { entries, upto }
    }

    /// What a log entry is to clients, if it is a message to them.
    pub fn message(&self, log: &LogId, target: &Target, entry: &LogEntry) -> Option<Message> {
        let stored = Self::decoded(entry)?;
        if stored.is_void(entry.time_ms) {
            self.metrics.void.increment(1);
            return None;
        }
        let shown = stored.control.is_none() && !stored.is_expired(id::now_ms());
        shown.then(|| Message::new(target, stored, Some(log.at(entry.sequence).to_string())))
    }

    /// After the log has become another: from where on all of it is to come.
    pub fn anew(&self, conn: &Arc<Conn>) -> Option<Cursor> {
        let log = self.bus.log.id().borrow().clone()?;
        Some(Cursor::new(log, conn.progress.from()))
    }
}

impl Entered {
    /// The client has all up to here: what follows begins there.
    pub fn go_on_from(&mut self, sequence: u64) {
        for behind in &mut self.behind {
            if sequence > behind.at {
                behind.at = sequence;
                behind.page = None;
            }
        }
    }
}

impl Behind {
    /// All of the target's messages up to here are in its first page. None: all that the log told of.
    fn known_upto(&self) -> Option<u64> {
        let read = self.page.as_ref().and_then(|page| page.entries.last());
        let read = read.map_or(self.at, |entry| entry.sequence.max(self.at));
        (read < self.newest).then_some(read)
    }
}

/// The first entry by which the user joined a group that the router did not tell of: its table may lag, and what is
/// stored of that group from here on is not among the entries.
fn unfamiliar(entries: &[(Target, LogEntry)], groups: &[String], now_ms: u64) -> Option<u64> {
    let mut joined: HashMap<String, u64> = HashMap::new();
    for (target, entry) in entries {
        let Target::User(_) = target else { continue };
        let control = Hub::decoded(entry).and_then(|stored| stored.control);
        if let Some(Order::Group(change)) = control.and_then(|control| control.order) {
            if !change.joined {
                joined.remove(&change.group);
            } else if now_ms.saturating_sub(entry.time_ms) < LAG.as_millis() as u64 && !groups.contains(&change.group) {
                joined.entry(change.group).or_insert(entry.sequence);
            }
        }
    }
    joined.into_values().min()
}
