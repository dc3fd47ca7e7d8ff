//! The promises, checked over what every client recorded: pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

/// What one client was told and given.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub user: String,
    /// Targets whose messages it must be given, all of them.
    pub targets: Vec<String>,
    /// Bodies that it tried to send, by target; bodies are unique.
    pub tried: Vec<(String, String)>,
    /// Answered `sent`.
    pub sent: Vec<Stored>,
    /// Given, dropped where the offset was known, in the order in which it came.
    pub heard: Vec<Stored>,
    /// Came after a newer one of its target.
    pub late: usize,
    pub gaps: usize,
}

/// A message with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub target: String,
    pub sequence: u64,
    pub body: String,
}

/// How often each promise was broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub sent: usize,
    pub heard: usize,
    /// Answered `sent`, and not given to somebody who must have it.
    pub lost: usize,
    /// Given, though nobody tried to send it there.
    pub invented: usize,
    /// At another place in the order than somebody else was told.
    pub disordered: usize,
    /// At two places in the order.
    pub doubled: usize,
    /// Messages may be gone, clients were told.
    pub gaps: usize,
    /// Never answered, though tried until the end.
    pub unsent: usize,
    pub memberships: usize,
    pub presence: usize,
    /// Clients that were treated as no client may be, and how.
    pub faults: Vec<String>,
    /// The first few of what was wrong.
    pub examples: Vec<String>,
}

impl Verdict {
    pub fn violations(&self) -> usize {
        let messages = self.lost + self.invented + self.disordered + self.doubled + self.gaps + self.unsent;
        messages + self.memberships + self.presence + self.faults.len()
    }

    pub fn is_good(&self) -> bool {
        self.violations() == 0
    }

    fn wrong(&mut self, count: fn(&mut Self) -> &mut usize, what: impl FnOnce() -> String) {
        *count(self) += 1;
        if self.examples.len() < 10 {
            self.examples.push(what());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for example in self.examples.iter().chain(&self.faults) {
            writeln!(f, "    {example}")?;
        }
        Ok(())
    }
}

pub fn judge(clients: &[Told], faults: &[String]) -> Verdict {
    let mut verdict = Verdict {
        faults: faults.to_vec(),
        ..Verdict::default()
    };
    for client in clients {
        verdict.sent += client.sent.len();
        verdict.heard += client.heard.len();
        verdict.gaps += client.gaps;
        verdict.unsent += client.tried.len() - client.sent.len();
        verdict.disordered += client.late;
    }
    one_order(clients, &mut verdict);
    nothing_invented_or_doubled(clients, &mut verdict);
    nothing_lost(clients, &mut verdict);
    verdict
}

/// Everybody who was told what stands at a place in a target's order was told the same.
fn one_order(clients: &[Told], verdict: &mut Verdict) {
    let mut order: HashMap<(&str, u64), (&str, &str)> = HashMap::new();
    for client in clients {
        for stored in client.sent.iter().chain(&client.heard) {
            let place = (stored.target.as_str(), stored.sequence);
            let (body, first) = order.entry(place).or_insert((&stored.body, &client.user));
            if *body != stored.body {
                verdict.wrong(
                    |v| &mut v.disordered,
                    || format!("at {place:?} {} has {}, {first} has {body}", client.user, stored.body),
                );
            }
        }
    }
}

fn nothing_invented_or_doubled(clients: &[Told], verdict: &mut Verdict) {
    let tried = clients.iter().flat_map(|client| &client.tried);
    let tried: BTreeSet<(&str, &str)> = tried.map(|(target, body)| (target.as_str(), body.as_str())).collect();
    let mut places: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
    for client in clients {
        for stored in client.sent.iter().chain(&client.heard) {
            let message = (stored.target.as_str(), stored.body.as_str());
            places.entry(message).or_default().insert(stored.sequence);
        }
    }
    for (message, places) in places {
        if !tried.contains(&message) {
            verdict.wrong(|v| &mut v.invented, || format!("nobody sent {message:?}"));
        }
        if places.len() > 1 {
            verdict.wrong(|v| &mut v.doubled, || format!("{message:?} stands at {places:?}"));
        }
    }
}

fn nothing_lost(clients: &[Told], verdict: &mut Verdict) {
    let mut sent: BTreeMap<&str, BTreeMap<u64, &str>> = BTreeMap::new();
    for stored in clients.iter().flat_map(|client| &client.sent) {
        let target = sent.entry(&stored.target).or_default();
        target.insert(stored.sequence, &stored.body);
    }
    for client in clients {
        let heard: BTreeSet<(&str, u64)> = client
            .heard
            .iter()
            .map(|stored| (stored.target.as_str(), stored.sequence))
            .collect();
        for target in &client.targets {
            for (sequence, body) in sent.get(target.as_str()).into_iter().flatten() {
                if !heard.contains(&(target.as_str(), *sequence)) {
                    verdict.wrong(
                        |v| &mut v.lost,
                        || format!("{} was not given {body} at {sequence} of {target}", client.user),
                    );
                }
            }
        }
    }
}

/// How much of what was answered `sent` this client has not been given yet.
pub fn missing(sent: &BTreeMap<String, BTreeSet<u64>>, targets: &[String], heard: impl Fn(&str, u64) -> bool) -> usize {
    let all = targets.iter().filter_map(|target| Some((target, sent.get(target)?)));
    all.flat_map(|(target, sequences)| sequences.iter().map(move |sequence| (target, *sequence)))
        .filter(|(target, sequence)| !heard(target, *sequence))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(target: &str, sequence: u64, body: &str) -> Stored {
        Stored {
            target: target.to_owned(),
            sequence,
            body: body.to_owned(),
        }
    }

    /// Alice sends two messages to a group in which bob is, too.
    fn good() -> [Told; 2] {
        let messages = vec![stored("group.g", 1, "a"), stored("group.g", 4, "b")];
        let told = |user: &str| Told {
            user: user.to_owned(),
            targets: vec!["group.g".to_owned(), format!("user.{user}")],
            heard: messages.clone(),
            ..Told::default()
        };
        let tried = ["a", "b"].map(|body| ("group.g".to_owned(), body.to_owned()));
        let alice = Told {
            tried: tried.to_vec(),
            sent: messages.clone(),
            ..told("alice")
        };
        [alice, told("bob")]
    }

    fn verdict(change: impl FnOnce(&mut [Told; 2])) -> Verdict {
        let mut clients = good();
        change(&mut clients);
        judge(&clients, &[])
    }

    #[test]
    fn what_is_right_passes() {
        let verdict = verdict(|_| {});
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.sent, verdict.heard), (2, 4));
    }

    #[test]
    fn each_broken_promise_is_seen() {
        let lost = verdict(|[_, bob]| drop(bob.heard.pop()));
        assert_eq!((lost.lost, lost.violations()), (1, 1));
        let invented = verdict(|[_, bob]| bob.heard.push(stored("group.g", 9, "x")));
        assert_eq!((invented.invented, invented.violations()), (1, 1));
        let elsewhere = verdict(|[_, bob]| bob.heard.push(stored("user.bob", 9, "a")));
        assert_eq!(elsewhere.invented, 1, "sent, but not to him");
        let doubled = verdict(|[_, bob]| bob.heard.push(stored("group.g", 9, "a")));
        assert_eq!((doubled.doubled, doubled.violations()), (1, 1));
        let swapped = verdict(|[_, bob]| {
            bob.heard = vec![stored("group.g", 1, "b"), stored("group.g", 4, "a")];
        });
        assert!(swapped.disordered > 0);
        let late = verdict(|[_, bob]| bob.late = 1);
        assert_eq!(late.violations(), 1);
        let gap = verdict(|[_, bob]| bob.gaps = 1);
        assert_eq!(gap.violations(), 1);
        let unsent = verdict(|[alice, _]| alice.tried.push(("group.g".to_owned(), "c".to_owned())));
        assert_eq!((unsent.unsent, unsent.violations()), (1, 1));
        let treated = judge(&good(), &["closed for good".to_owned()]);
        assert_eq!(treated.violations(), 1);
    }

    #[test]
    fn what_was_never_answered_may_be_given_or_not() {
        let heard = verdict(|[alice, bob]| {
            alice.sent.pop();
            bob.heard.pop();
        });
        assert_eq!((heard.lost, heard.invented, heard.unsent), (0, 0, 1));
    }
}
