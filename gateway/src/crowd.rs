//! How many connections a user may have, and which of them go where there are more. Pure.
//!
//! Who connects sees the others as far as the cluster knows them at that moment. It is the newest, whatever the clocks of
//! other nodes say: a connection never makes way for one that it has found.

use herald_proto::{
    CloseCode,
    cluster::{ConnectionInfo, UserConnection},
};
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Connections of one user.
    pub most: usize,
    pub beyond: Beyond,
    /// Of the connections that name the same device only the newest stays.
    pub one_per_device: bool,
}

/// What happens to one connection too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// The new one is refused.
    #[default]
    Reject,
    /// The oldest makes way.
    ReplaceOldest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    TooMany,
    /// Welcome, and these, by their ids, make way.
    Replaces(Vec<String>),
}

impl Rules {
    /// What becomes of `new`, with `others` there already.
    pub fn on_connect(&self, new: &ConnectionInfo, others: &[ConnectionInfo]) -> Verdict {
        let (mut replaced, mut stay): (Vec<_>, Vec<_>) = others
            .iter()
            .partition(|other| self.one_per_device && is_same_device(new, other));
        match self.beyond {
            Beyond::Reject => {
                // Of several that come at the same moment each sees the others: only the first fit.
                let before = stay.iter().filter(|other| age(other) < age(new)).count();
                if before >= self.most {
                    return Verdict::TooMany;
                }
            }
            Beyond::ReplaceOldest => {
                stay.sort_unstable_by(|a, b| age(a).cmp(&age(b)));
                let surplus = (stay.len() + 1).saturating_sub(self.most);
                replaced.extend(stay.into_iter().take(surplus));
            }
        }
        Verdict::Replaces(replaced.into_iter().map(|other| other.id.clone()).collect())
    }

    /// Whether what [`Self::at_rest`] looks at can be too much.
    pub fn look_again(&self) -> bool {
        self.one_per_device || self.beyond == Beyond::ReplaceOldest
    }

    /// Of all of a user's connections those that must go: two that came at the same moment, on two nodes, may have
    /// missed each other.
    pub fn at_rest(&self, all: &[ConnectionInfo]) -> Vec<(String, CloseCode)> {
        let newer_of_device = |one: &ConnectionInfo| {
            let mut others = all.iter().filter(|other| is_same_device(one, other));
            others.any(|other| age(other) > age(one))
        };
        let (mut gone, mut stay): (Vec<_>, Vec<_>) =
            all.iter().partition(|one| self.one_per_device && newer_of_device(one));
        if self.beyond == Beyond::ReplaceOldest {
            stay.sort_unstable_by(|a, b| age(a).cmp(&age(b)));
            let surplus = stay.len().saturating_sub(self.most);
            gone.extend(stay.into_iter().take(surplus));
        }
        gone.into_iter()
            .map(|one| (one.id.clone(), CloseCode::Replaced))
            .collect()
    }
}

/// Of the connections on other nodes those that count here. Who polls moves from node to node faster than nodes hear of
/// each other, and would stand in its own way: each node counts its own polls.
pub fn elsewhere(told: &[UserConnection]) -> impl Iterator<Item = ConnectionInfo> {
    let infos = told.iter().filter_map(|other| other.info.clone());
    infos.filter(|info| info.dialect != Dialect::Poll.name())
}

fn is_same_device(one: &ConnectionInfo, other: &ConnectionInfo) -> bool {
    !one.device.is_empty() && one.device == other.device && one.id != other.id
}

fn age(one: &ConnectionInfo) -> (u64, &str) {
    (one.since, &one.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(id: &str, device: &str, since: u64) -> ConnectionInfo {
        ConnectionInfo {
            id: id.to_owned(),
            device: device.to_owned(),
            since,
            ..ConnectionInfo::default()
        }
    }

    fn rules(most: usize, beyond: Beyond, one_per_device: bool) -> Rules {
        Rules {
            most,
            beyond,
            one_per_device,
        }
    }

    fn replaces(ids: &[&str]) -> Verdict {
        Verdict::Replaces(ids.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_too_many_is_refused() {
        let rules = rules(2, Beyond::Reject, false);
        let others = [conn("a", "", 1), conn("b", "", 2)];
        assert_eq!(rules.on_connect(&conn("c", "", 3), &others), Verdict::TooMany);
        assert_eq!(rules.on_connect(&conn("c", "", 3), &others[..1]), replaces(&[]));
        // b and c came at the same moment and see each other.
        let first = rules.on_connect(&conn("b", "", 3), &[conn("a", "", 1), conn("c", "", 3)]);
        let second = rules.on_connect(&conn("c", "", 3), &[conn("a", "", 1), conn("b", "", 3)]);
        assert_eq!((first, second), (replaces(&[]), Verdict::TooMany));
    }

    #[test]
    fn the_oldest_make_way_and_never_the_new_one() {
        let rules = rules(2, Beyond::ReplaceOldest, false);
        let others = [conn("b", "", 20), conn("a", "", 10), conn("ahead", "", 99)];
        assert_eq!(rules.on_connect(&conn("c", "", 30), &others), replaces(&["a", "b"]));
        let gone: Vec<String> = rules.at_rest(&others).into_iter().map(|(id, _)| id).collect();
        assert_eq!(gone, ["a"]);
    }

    #[test]
    fn a_device_has_one_connection_and_a_nameless_one_as_many_as_it_likes() {
        let rules = rules(9, Beyond::Reject, true);
        // The clock of the node that the phone was at before is ahead.
        let others = [conn("a", "phone", 99), conn("b", "desk", 2), conn("c", "", 3)];
        assert_eq!(rules.on_connect(&conn("d", "phone", 50), &others), replaces(&["a"]));
        assert_eq!(rules.on_connect(&conn("d", "", 50), &others), replaces(&[]));
        let all = [
            conn("a", "phone", 1),
            conn("b", "phone", 2),
            conn("c", "", 3),
            conn("d", "", 3),
        ];
        assert_eq!(rules.at_rest(&all), [("a".to_owned(), CloseCode::Replaced)]);
    }
}
