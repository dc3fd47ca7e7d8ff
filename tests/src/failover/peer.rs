//! One client of the scenario: it sends its part, hears, and comes back.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Addresses, Plan, report::Ledger};
use crate::{client::Dialect, follower::Follower, outgoing::Sent, token};

/// Members of each group.
const GROUP: usize = 10;

/// From the end of one connection until the next was welcomed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Absence {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

pub(crate) struct Peer {
    pub(super) plan: Plan,
    index: usize,
    addresses: Addresses,
    pub(super) follower: Follower,
    pub(crate) absences: Vec<Absence>,
}

impl Peer {
    pub(super) async fn start(plan: Plan, index: usize, addresses: Addresses) -> Self {
        let name = format!("u{index}");
        let groups = [format!("g{}", index / GROUP)];
        let token = token::dev_with(&name, &json!({"groups": groups}));
        let mut follower = Follower::new(&name, Dialect::BOTH[index % 2], token);
        let address = {
            let addresses = addresses.read().expect("never poisoned");
            addresses[index % addresses.len()]
        };
        follower.resume(address).await;
        Self {
            plan,
            index,
            addresses,
            follower,
            absences: Vec::new(),
        }
    }

    /// Sends its part, reports it, and hears on until it has all that the ledger holds for it.
    pub(super) async fn live(
        mut self,
        begun: Instant,
        report: mpsc::UnboundedSender<Vec<Sent>>,
        mut ledger: watch::Receiver<Option<Arc<Ledger>>>,
    ) -> Self {
        for n in 0..self.plan.part() {
            self.hear(begun + Duration::from_secs_f64(n as f64 / self.plan.pace()))
                .await;
            let (to, key) = (self.target(n), format!("k{n}"));
            let body = json!(format!("{}-{n}", self.index));
            self.follower.outgoing.push(to, body, key);
        }
        let end = begun + self.plan.length + self.plan.settle;
        while !self.follower.outgoing.is_empty() && Instant::now() < end {
            self.hear_a_little().await;
        }
        // Nobody waits for a coordinator that has failed.
        let _ = report.send(self.follower.outgoing.sent.clone());
        drop(report);
        let ledger = loop {
            if let Some(ledger) = ledger.borrow_and_update().clone() {
                break ledger;
            }
            self.hear_a_little().await;
        };
        let end = Instant::now() + self.plan.settle;
        while self.missing(&ledger) > 0 && Instant::now() < end {
            self.hear_a_little().await;
        }
        self
    }

    /// Half to one other client, half to the own group.
    fn target(&self, n: usize) -> Value {
        if n.is_multiple_of(2) {
            json!({"user": format!("u{}", (self.index + 1 + n) % self.plan.clients)})
        } else {
            json!({"group": format!("g{}", self.index / GROUP)})
        }
    }

    async fn hear_a_little(&mut self) {
        self.hear(Instant::now() + Duration::from_millis(200)).await;
    }

    /// Hears and sends until then, and comes back where the connection ends.
    async fn hear(&mut self, until: Instant) {
        while self.follower.run(until).await.is_err() {
            let from = Instant::now();
            let addresses = Arc::clone(&self.addresses);
            let index = self.index;
            let turned = move || {
                let mut addresses = addresses.read().expect("never poisoned").clone();
                let first = index % addresses.len();
                addresses.rotate_left(first);
                addresses
            };
            self.follower.come_back(turned, self.plan.settle).await;
            let to = Instant::now();
            self.absences.push(Absence { from, to });
        }
    }

    pub(super) fn targets(&self) -> [String; 2] {
        [
            format!("user.u{}", self.index),
            format!("group.g{}", self.index / GROUP),
        ]
    }

    fn missing(&self, ledger: &Ledger) -> usize {
        let count = |target: &String| {
            let Some(sent) = ledger.get(target) else { return 0 };
            let heard = self.follower.heard.of(target);
            if heard.len() < sent.len() {
                return sent.len() - heard.len();
            }
            let heard: HashSet<u64> = heard.iter().map(|item| item.sequence).collect();
            sent.keys().filter(|sequence| !heard.contains(sequence)).count()
        };
        self.targets().iter().map(count).sum()
    }
}
