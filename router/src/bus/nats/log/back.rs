//! Reading backwards, which the server does not do by itself: it reads forwards only, but tells how many messages of a
//! subject follow. So the sequence is searched from which on as many as are wanted stand before `before`.

use std::slice;

use herald_proto::Target;

use super::{NatsLog, read::BATCH};
use crate::bus::{LogEntry, Page, Result};

/// Every second step halves what is left, so that 64 bits are searched long before this. It ends a search that replicas
/// of different standing mislead.
const STEPS: usize = 160;

/// A target's messages from some sequence on: the sequence of the first, and how many.
#[derive(Clone, Copy)]
struct Rest {
    first: u64,
    count: u64,
}

/// From where to read: in a window as large as is wanted, or somewhat larger.
struct Window {
    from: u64,
    /// How many messages stand in it.
    holds: u64,
    /// How many stand before it.
    left: u64,
}

impl NatsLog {
    pub(super) async fn read_backwards(&self, target: &Target, before: u64, limit: usize) -> Result<Page> {
        let (all, beyond) = tokio::try_join!(self.rest(target, 1), self.rest(target, before.max(1)))?;
        let Some(all) = all.filter(|all| all.first < before) else {
            return Ok(Page::default());
        };
        let beyond = beyond.map_or(0, |beyond| beyond.count);
        let mut page = Page {
            left: all.count.saturating_sub(beyond),
            ..Page::default()
        };
        if limit > 0 {
            let window = self.window(target, all, before, beyond, limit).await?;
            page = self.read_window(target, &window, before, limit).await?;
        }
        // Counts may be off by what a replica lags. Whether there is anything before is certain.
        let first = page.entries.first().map_or(before, |entry| entry.sequence);
        page.left = if all.first < first { page.left.max(1) } else { 0 };
        Ok(page)
    }

    /// `all` are the target's messages, of which `beyond` stand at `before` or behind it.
    async fn window(&self, target: &Target, all: Rest, before: u64, beyond: u64, limit: usize) -> Result<Window> {
        let limit = limit as u64;
        // Messages that are read for nothing cost less than one more question.
        let enough = limit.saturating_add(limit / 4 + 16);
        let count = all.count.saturating_sub(beyond);
        // From `low` on there are too many, from `high` on too few.
        let (mut low, mut many) = (all.first, count);
        let (mut high, mut few) = (before, 0);
        if many > enough && beyond == 0 {
            // `before` may be far behind the end, and would mislead the search.
            let newest = self.newer_in_chunks(slice::from_ref(target), low).await?;
            high = newest.targets.first().map_or(high, |(_, last)| high.min(last + 1));
        }
        for step in 0..STEPS {
            if many <= enough || high - low <= 1 {
                break;
            }
            let from = if step % 2 == 0 {
                between(low, many, high, few, limit / 2 + enough / 2)
            } else {
                low + (high - low) / 2
            };
            let found = self.rest(target, from).await?;
            let found = found.map(|rest| (rest.first, rest.count.saturating_sub(beyond)));
            match found {
                Some((first, holds)) if holds >= limit && first < high => (low, many) = (first, holds),
                _ => (high, few) = (from, found.map_or(0, |(_, holds)| holds)),
            }
        }
        Ok(Window {
            from: low,
            holds: many,
            left: count.saturating_sub(many),
        })
    }

    /// The last before `before` from the window's beginning on: up to the sequences that are seen, not the number that
    /// was told, for that may be a lagging replica's.
    async fn read_window(&self, target: &Target, window: &Window, before: u64, limit: usize) -> Result<Page> {
        let mut page = Page {
            entries: Vec::new(),
            left: window.left,
        };
        let mut after = window.from - 1;
        // One more shows that the end is reached.
        let mut want = usize::try_from(window.holds).unwrap_or(BATCH).saturating_add(1);
        loop {
            let mut read: Vec<LogEntry> = Vec::new();
            let left = self.batch(target, after, want.clamp(1, BATCH), &mut read).await?;
            want = want.saturating_sub(read.len());
            let last = read.last().map(|entry| entry.sequence);
            read.retain(|entry| entry.sequence < before);
            page.entries.append(&mut read);
            let surplus = page.entries.len().saturating_sub(limit);
            page.entries.drain(..surplus);
            page.left += surplus as u64;
            match last {
                Some(last) if left > 0 && last < before => after = last,
                _ => return Ok(page),
            }
        }
    }

    /// The first message at or after `from`, and how many there are from there on.
    async fn rest(&self, target: &Target, from: u64) -> Result<Option<Rest>> {
        let mut one = Vec::with_capacity(1);
        let more = self.batch(target, from - 1, 1, &mut one).await?;
        Ok(one.first().map(|entry| Rest {
            first: entry.sequence,
            count: more + 1,
        }))
    }
}

/// Where `wanted` messages would be left if they stood evenly between `low` and `high`; strictly between the two.
fn between(low: u64, many: u64, high: u64, few: u64, wanted: u64) -> u64 {
    let span = u128::from(high - low);
    let share = u128::from(wanted.saturating_sub(few)) * span / u128::from(many.saturating_sub(few).max(1));
    let back = u64::try_from(share).unwrap_or(u64::MAX);
    high.saturating_sub(back).clamp(low + 1, high - 1)
}
