//! What workers are told, and what they tell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    measure::order::Faults,
    stamp::{ALL, GROUPS, Stream, USERS},
    target::{Server, To, Who},
};

/// A worker's share of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub server: Server,
    /// Its clients: every `step`th from `first` on, `clients` of them, so that each worker has some of each group.
    pub first: usize,
    pub step: usize,
    pub clients: usize,
    pub groups: Grouping,
    /// Addresses of loopback that clients come from.
    pub sources: u32,
    /// Connects under way at once.
    pub dial: usize,
}

impl Plan {
    pub fn number(&self, index: usize) -> usize {
        self.first + index * self.step
    }

    pub fn who(&self, index: usize) -> Who {
        let number = self.number(index);
        let groups = self.groups.of(number).into_iter().collect();
        Who { number, groups }
    }
}

/// Client n belongs to group n mod `count`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Grouping {
    pub count: u32,
}

impl Grouping {
    pub const NONE: Self = Self { count: 0 };

    pub fn of(self, number: usize) -> Option<u32> {
        let count = usize::try_from(self.count).ok()?;
        u32::try_from(number.checked_rem(count)?).ok()
    }
}

/// The stream of a target.
pub fn stream(to: To) -> Stream {
    match to {
        To::All => ALL,
        To::Group(number) => GROUPS + number,
        // There are fewer clients than that by far.
        To::User(number) => USERS + u32::try_from(number).unwrap_or(u32::MAX - USERS),
    }
}

/// The streams that a client should hear.
pub fn streams(who: &Who) -> impl Iterator<Item = Stream> + '_ {
    let own = [ALL, stream(To::User(who.number))];
    own.into_iter()
        .chain(who.groups.iter().map(|group| stream(To::Group(*group))))
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// So many of its clients are to be there; those that are not come at `rate` a second, or all at once.
    Population { clients: usize, rate: Option<f64> },
    /// From now on so many a second leave, and come back after `away_ms`.
    Churn { rate: f64, away_ms: u64 },
    /// Nobody leaves any more; done when all are back.
    Calm,
    /// All lose their connections now, and come back within `jitter_ms`.
    Storm { jitter_ms: u64 },
    /// What was sent of each stream: done when all of it has come, or nothing comes for `quiet_ms`.
    Settle { sent: BTreeMap<Stream, u64>, quiet_ms: u64 },
    /// Close everything.
    End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Once a second.
    Tick(Tick),
    /// An order has been carried out.
    Done {
        late: u64,
    },
    Settled(Settled),
}

/// What happened since the last one. Histograms as [`crate::measure::latency::to_text`] writes them; empty: nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tick {
    /// On [`crate::clock`], in seconds.
    pub second: u64,
    /// Ready at this moment.
    pub open: u64,
    pub heard: u64,
    pub bytes: u64,
    pub latency: String,
    pub caught_up: String,
    pub connect: String,
    /// Since the beginning.
    pub totals: Totals,
}

/// Counted since the beginning.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Connects that succeeded, those of clients that came back included.
    pub connects: u64,
    pub failed_connects: u64,
    pub gaps: u64,
    /// Ends that the server chose, or the network.
    pub closes: BTreeMap<String, u64>,
    /// The first few kinds of what went wrong.
    pub errors: BTreeMap<String, u64>,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.failed_connects += other.failed_connects;
        self.gaps += other.gaps;
        for (mine, theirs) in [(&mut self.closes, &other.closes), (&mut self.errors, &other.errors)] {
            for (kind, count) in theirs {
                *mine.entry(kind.clone()).or_default() += count;
            }
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settled {
    pub expected: u64,
    pub heard: u64,
    pub faults: Faults,
    /// Some of those that missed something.
    pub examples: Vec<String>,
    /// What is not in a tick yet.
    pub rest: Tick,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_one_group() {
        let groups = Grouping { count: 3 };
        assert_eq!([0, 1, 2, 3].map(|n| groups.of(n)), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(Grouping::NONE.of(5), None);
    }

    #[test]
    fn streams_of_targets_never_meet() {
        let targets = [
            To::All,
            To::Group(0),
            To::Group(1),
            To::User(0),
            To::User(1),
            To::User(Who::SENDERS),
        ];
        let streams: std::collections::BTreeSet<Stream> = targets.into_iter().map(stream).collect();
        assert_eq!(streams.len(), targets.len());
    }
}
