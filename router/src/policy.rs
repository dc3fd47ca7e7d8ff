//! Who may do what: the rules of PROTOCOL.md, decided from the directory alone.

use std::time::Duration;

use serde::Deserialize;

use crate::{config::Faults, directory::Directory};

/// The rules of one deployment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Groups that clients may join by themselves; `*` stands for any text.
    pub client_join: Vec<String>,
    pub direct: Scope,
    pub visibility: Scope,
    pub groups_per_user: usize,
    /// How long the tokens of a user who was kicked are refused: at least as long as any token lasts.
    #[serde(with = "humantime_serde")]
    pub revocations_kept: Duration,
    /// How long it is remembered when one who is offline was there last; zero: not at all.
    #[serde(with = "humantime_serde")]
    pub last_seen_kept: Duration,
}

/// Towards whom something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    All,
    /// Users with whom one shares a group.
    Groups,
    None,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            client_join: Vec::new(),
            direct: Scope::All,
            visibility: Scope::Groups,
            groups_per_user: herald_proto::limits::GROUPS_PER_USER,
            revocations_kept: herald_proto::limits::REVOCATIONS_KEPT,
            last_seen_kept: herald_proto::limits::LAST_SEEN_KEPT,
        }
    }
}

impl Policy {
    /// The rules of `--dev`.
    pub fn open() -> Self {
        Self {
            client_join: vec!["*".to_owned()],
            direct: Scope::All,
            visibility: Scope::All,
            ..Self::default()
        }
    }

    /// `table` is its name in the configuration.
    pub fn check(&self, table: &str, faults: &mut Faults) {
        if self.revocations_kept < Duration::from_secs(60) {
            faults.add(format!("{table}.revocations_kept"), "must be at least 1m");
        }
        if !self.last_seen_kept.is_zero() && self.last_seen_kept < Duration::from_secs(1) {
            faults.add(format!("{table}.last_seen_kept"), "must be 0s or at least 1s");
        }
    }

    pub fn client_may_join(&self, group: &str) -> bool {
        self.client_join.iter().any(|p| matches(p, group))
    }

    /// Whether `viewer` (None: the application) may know of `user`'s presence.
    pub fn sees_user(&self, directory: &Directory, viewer: Option<&str>, user: &str) -> bool {
        let Some(viewer) = viewer else { return true };
        viewer == user || self.visibility.reaches(directory, viewer, user)
    }

    /// Whether `viewer` may know whether anybody in a group of its own, or at all, is online.
    pub fn sees_members(&self, viewer: Option<&str>) -> bool {
        viewer.is_none() || self.visibility != Scope::None
    }

    pub fn sees_everybody(&self, viewer: Option<&str>) -> bool {
        viewer.is_none() || self.visibility == Scope::All
    }
}

impl Scope {
    pub fn reaches(self, directory: &Directory, from: &str, to: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Groups => directory.share_group(from, to),
            Scope::None => false,
        }
    }
}

/// `*` in `pattern` stands for any text, also for none.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut rest = rest;
    // The leftmost match of each middle part leaves the most for those after it.
    while let Some((middle, after)) = rest.split_once('*') {
        let Some(at) = text.find(middle) else {
            return false;
        };
        text = &text[at + middle.len()..];
        rest = after;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("room-*", "room-1", true),
            ("room-*", "room", false),
            ("*-a-*-b", "x-a-y-b", true),
            ("*-a-*-b", "x-a-b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("exact", "exact", true),
            ("exact", "exact2", false),
            ("小*", "小明", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn visibility_follows_shared_groups() {
        let mut d = Directory::new(true);
        d.put_member("g", "alice", 1);
        d.put_member("g", "bob", 2);
        let policy = Policy::default();
        assert!(policy.sees_user(&d, Some("alice"), "bob"));
        assert!(policy.sees_user(&d, Some("alice"), "alice"));
        assert!(!policy.sees_user(&d, Some("alice"), "carol"));
        assert!(policy.sees_user(&d, None, "carol"), "the application sees all");
        assert!(!policy.sees_everybody(Some("alice")));
    }
}
