//! What was sent, laid beside what was heard.

use std::collections::BTreeMap;

use super::Heard;
use crate::outgoing::Sent;

/// What came of it, over all clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages answered `sent`; and messages that never were, though tried until the end.
    pub sent: usize,
    pub unsent: usize,
    pub received: usize,
    /// Dropped because their offset was known.
    pub repeated: usize,
    pub lost: usize,
    /// Came after a newer one of the same target, or elsewhere in the order than to another recipient.
    pub out_of_order: usize,
    /// Stored under two offsets, or heard though nobody was told that it was sent.
    pub doubled: usize,
    pub gaps: usize,
    pub retries: usize,
    pub reconnects: usize,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.lost + self.out_of_order + self.doubled + self.gaps + self.unsent == 0
    }
}

/// What was sent to each target, by its place in the log.
pub(crate) type Ledger = BTreeMap<String, BTreeMap<u64, String>>;

pub(super) fn written(sent: &[Sent]) -> Ledger {
    let mut ledger = Ledger::new();
    for sent in sent {
        let target = ledger.entry(sent.target.clone()).or_default();
        target.insert(sent.sequence, sent.id.clone());
    }
    ledger
}

pub(crate) fn judge(heard: &Heard) -> Report {
    let Heard { peers, ledger, sent } = heard;
    let stored: usize = ledger.values().map(BTreeMap::len).sum();
    // Two that were answered `sent` with the same offset.
    let mut report = Report {
        sent: *sent,
        lost: sent - stored,
        ..Report::default()
    };
    for peer in peers {
        let follower = &peer.follower;
        report.unsent += peer.plan.part() - follower.outgoing.sent.len();
        report.received += follower.heard.count();
        report.repeated += follower.heard.repeated;
        report.out_of_order += follower.heard.late;
        report.gaps += follower.gaps;
        report.retries += follower.outgoing.retries;
        report.reconnects += peer.absences.len();
        for target in peer.targets() {
            let nothing = BTreeMap::new();
            let sent = ledger.get(&target).unwrap_or(&nothing);
            let heard: BTreeMap<u64, &str> = follower
                .heard
                .of(&target)
                .iter()
                .map(|item| (item.sequence, item.id.as_str()))
                .collect();
            // By place in the log: another message there than the sender was told would be another order.
            for (sequence, id) in sent {
                match heard.get(sequence) {
                    None => report.lost += 1,
                    Some(other) if other != id => report.out_of_order += 1,
                    Some(_) => {}
                }
            }
            report.doubled += heard.keys().filter(|sequence| !sent.contains_key(sequence)).count();
        }
    }
    report
}
