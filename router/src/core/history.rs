//! `history`: what a target was told before, page by page.

use std::time::{Duration, Instant};

use bytes::Bytes;
use herald_proto::{
    ErrorCode, LogId, Offset, Target,
    cluster::{History, HistoryCommand, HistoryEntry, Sender, Stored, reply},
    id,
    limits::{HISTORY_DEFAULT, HISTORY_MAX},
};
use prost::Message;
use tracing::warn;

use super::{Router, deletion::purged_by};
use crate::{
    bus::{BusError, LogEntry, Page},
    failure::Failure,
};

/// Of all messages in one answer. NATS takes 1 MiB, and a body in Base64 must pass to its reader within as much.
const ROOM: usize = 500 << 10;
/// Messages of the first read; how many to read next is known from their size.
const FIRST: usize = 50;
/// Skipping what nobody may read goes on for this long at most: the gateway waits for 4 s.
const PATIENCE: Duration = Duration::from_secs(2);

/// From where to read, and with it the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    After(u64),
    Before(u64),
}

struct Asked {
    place: Place,
    limit: usize,
    /// The offset is of another log: nobody knows what is missing.
    foreign: bool,
}

impl Router {
    pub(super) async fn history(&self, command: HistoryCommand) -> Result<reply::Reply, Failure> {
        let log = self.log_id()?;
        let asked = asked(&command, &log)?;
        let target = command
            .of
            .and_then(Target::from_proto)
            .ok_or_else(|| Failure::bad_request("no target"))?;
        target.check()?;
        self.check_history(&command.sender.unwrap_or_default(), &target).await?;

        let mut reading = Reading::new(asked.place, asked.limit);
        self.read_into(&mut reading, &target).await?;
        let gap = asked.foreign || reading.lacks(asked.place) || self.may_miss(asked.place, &reading.fullest).await?;
        if matches!(asked.place, Place::Before(_)) {
            reading.found.reverse();
        }
        Ok(reply::Reply::History(History {
            entries: reading.found,
            more: reading.more,
            gap,
            log: log.to_string(),
        }))
    }

    async fn check_history(&self, sender: &Sender, target: &Target) -> Result<(), Failure> {
        let Some(user) = sender.user.as_deref() else {
            return Ok(());
        };
        match target {
            Target::All => Ok(()),
            Target::User(of) if &**of == user => Ok(()),
            Target::User(_) => Err(Failure::forbidden("of all inboxes, only one's own can be read")),
            Target::Group(group) if self.is_member(group, user).await? => Ok(()),
            Target::Group(group) => Err(Failure::forbidden(format!("not a member of {group}"))),
        }
    }

    /// Reads on until there is enough, or nothing more.
    async fn read_into(&self, reading: &mut Reading, target: &Target) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let count = reading.next_count();
            let page = match reading.place {
                Place::After(after) => self.bus.log.read(target, after, count).await?,
                Place::Before(before) => self.bus.log.read_back(target, before, count).await?,
            };
            if page.entries.is_empty() && page.left > 0 {
                return Err(BusError::Unavailable("a replica of the log lags".to_owned()).into());
            }
            if reading.take(page, id::now_ms()) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return if reading.found.is_empty() {
                    Err(Failure::new(ErrorCode::Timeout, "too much to skip"))
                } else {
                    Ok(())
                };
            }
        }
    }

    /// Whether messages behind `place` may be gone; `fullest` is the most that was seen to stand there.
    async fn may_miss(&self, place: Place, fullest: &Page) -> Result<bool, Failure> {
        let Place::After(after) = place else {
            return Ok(false); // who reads back sees for himself where the log begins
        };
        // Asked last, so that what went meanwhile is noticed.
        let bounds = self.bus.log.bounds().await?;
        Ok(fullest.may_lack(0, after, bounds))
    }
}

fn asked(command: &HistoryCommand, log: &LogId) -> Result<Asked, Failure> {
    let limit = match command.limit {
        0 => HISTORY_DEFAULT,
        1..=HISTORY_MAX => command.limit,
        _ => return Err(Failure::bad_request(format!("limit must be 1 to {HISTORY_MAX}"))),
    };
    let offset = |text: &str| {
        let offset = text.parse::<Offset>();
        offset.map_err(|_| Failure::bad_request("malformed offset"))
    };
    let newest = Place::Before(u64::MAX);
    let (place, foreign) = match (&command.after, &command.before) {
        (None, None) => (newest, false),
        (Some(after), None) => match offset(after)? {
            own if own.log == *log => (Place::After(own.sequence), false),
            _ => (Place::After(0), true),
        },
        (None, Some(before)) => match offset(before)? {
            own if own.log == *log => (Place::Before(own.sequence), false),
            _ => (newest, true),
        },
        (Some(_), Some(_)) => return Err(Failure::bad_request("both after and before")),
    };
    Ok(Asked {
        place,
        limit: limit as usize,
        foreign,
    })
}

/// An answer in the making.
struct Reading {
    place: Place,
    limit: usize,
    /// In the direction of reading.
    found: Vec<HistoryEntry>,
    /// Of what was found, encoded.
    bytes: usize,
    /// Whether anything is left that was not read, or not given.
    more: bool,
    /// The page behind which most messages were seen to stand, hollow.
    fullest: Page,
    /// Up to where the application has deleted what stood there, as far as it was read.
    purged: u64,
    read: usize,
    read_bytes: usize,
}

impl Reading {
    fn new(place: Place, limit: usize) -> Self {
        Self {
            place,
            limit,
            found: Vec::new(),
            bytes: 0,
            more: false,
            fullest: Page::default(),
            purged: 0,
            read: 0,
            read_bytes: 0,
        }
    }

    /// How many to read next: what is wanted still, and not much more than there is room for.
    fn next_count(&self) -> usize {
        if self.read == 0 {
            return self.limit.min(FIRST);
        }
        let wanted = (self.limit - self.found.len()).max(FIRST);
        let each = self.read_bytes / self.read;
        wanted.min(2 * ROOM / each.max(1) + 1)
    }

    /// Whether what stood behind `place` was deleted.
    fn lacks(&self, place: Place) -> bool {
        matches!(place, Place::After(after) if after < self.purged)
    }

    /// Takes from `page` what may be read. True: that is all.
    fn take(&mut self, page: Page, now_ms: u64) -> bool {
        let mut rest = page.count();
        if rest > self.fullest.count() {
            self.fullest = page.outline();
        }
        self.read += page.entries.len();
        self.read_bytes += page.entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
        let mut entries = page.entries;
        if matches!(self.place, Place::Before(_)) {
            entries.reverse();
        }
        for entry in entries {
            self.more = rest > 0;
            if self.found.len() == self.limit {
                return true;
            }
            let sequence = entry.sequence;
            let stored = decoded(entry.payload.clone(), sequence);
            let purged = stored.as_ref().and_then(purged_by).map(|purged| purged.upto);
            self.purged = self.purged.max(purged.unwrap_or(0));
            if let Some(found) = stored.and_then(|stored| readable(stored, &entry, now_ms)) {
                let size = found.encoded_len();
                // One is always given: else nobody could ever read on behind it.
                if !self.found.is_empty() && self.bytes + size > ROOM {
                    return true;
                }
                self.bytes += size;
                self.found.push(found);
            }
            self.place = match self.place {
                Place::After(_) => Place::After(sequence),
                Place::Before(_) => Place::Before(sequence),
            };
            rest -= 1;
        }
        self.more = rest > 0;
        !self.more || self.found.len() == self.limit
    }
}

/// None for what is no message for clients, or no longer.
fn readable(stored: Stored, entry: &LogEntry, now_ms: u64) -> Option<HistoryEntry> {
    let over = stored.control.is_some() || stored.is_void(entry.time_ms) || stored.is_expired(now_ms);
    (!over).then_some(HistoryEntry {
        stored: Some(stored),
        sequence: entry.sequence,
    })
}

fn decoded(payload: Bytes, sequence: u64) -> Option<Stored> {
    let stored = Stored::decode(payload);
    stored
        .inspect_err(|error| warn!(sequence, %error, "an unreadable log entry"))
        .ok()
}

#[cfg(test)]
mod tests;
