//! `online` and `offline`, each told once though every router sees it.
//!
//! Pure. Each router notes the changes that it sees. The first of them by name publishes; the others keep what they have noted
//! until they hear it published, so that the next one publishes it should the first die. Their ids are made of what the
//! bucket says, so that two who publish the same change publish it under one id.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

type Id = Arc<str>;

/// Who is back within this never was offline.
const GRACE: Duration = herald_proto::limits::GRACE;
/// What was not heard to be published for so long was published by one who was not heard.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Changes of one user that wait: one who flickers more than that must not fill the memory.
const OF_ONE: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub user: Id,
    pub online: bool,
    /// Since when, or when it was last seen; Unix milliseconds.
    pub since: u64,
}

#[derive(Debug)]
struct Waiting {
    online: bool,
    since: u64,
    at: Instant,
}

/// What this router has seen and has not heard to be published.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: HashMap<Id, VecDeque<Waiting>>,
}

impl Changes {
    pub fn note(&mut self, user: &Id, online: bool, since: u64, now: Instant) {
        let of_user = self.waiting.entry(user.clone()).or_default();
        match of_user.back() {
            // The table tells the same twice where more becomes known of one who is offline.
            Some(last) if last.online == online => return,
            Some(last) if online && now.duration_since(last.at) < GRACE => {
                of_user.pop_back();
            }
            _ if of_user.len() >= OF_ONE => {}
            _ => of_user.push_back(Waiting { online, since, at: now }),
        }
        if of_user.is_empty() {
            self.waiting.remove(user);
        }
    }

    /// It was published, by whoever.
    pub fn heard(&mut self, user: &str, online: bool) {
        let Some(of_user) = self.waiting.get_mut(user) else {
            return;
        };
        if of_user.front().is_some_and(|first| first.online == online) {
            of_user.pop_front();
        }
        if of_user.is_empty() {
            self.waiting.remove(user);
        }
    }

    /// What the first router is to publish now; the others only forget what is old.
    pub fn due(&mut self, first: bool, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        self.waiting.retain(|user, of_user| {
            while let Some(next) = of_user.front() {
                let age = now.duration_since(next.at);
                if first && (next.online || age >= GRACE) {
                    told.push(Told {
                        user: user.clone(),
                        online: next.online,
                        since: next.since,
                    });
                } else if age < FORGOTTEN {
                    return true;
                }
                of_user.pop_front();
            }
            false
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(user: &str) -> Id {
        user.into()
    }

    fn told(user: &str, online: bool, since: u64) -> Told {
        Told {
            user: id(user),
            online,
            since,
        }
    }

    #[test]
    fn one_who_is_back_within_the_grace_never_was_offline() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.note(&id("bob"), true, 1, now);
        assert_eq!(changes.due(true, now), [told("bob", true, 1)]);
        changes.note(&id("bob"), false, 2, now);
        changes.note(&id("bob"), true, 3, now + GRACE / 2);
        assert_eq!(changes.due(true, now + GRACE * 2), []);
        changes.note(&id("bob"), false, 4, now);
        assert_eq!(changes.due(true, now + GRACE / 2), []);
        assert_eq!(changes.due(true, now + GRACE), [told("bob", false, 4)]);
    }

    #[test]
    fn the_next_router_tells_what_the_first_did_not() {
        let (mut second, now) = (Changes::default(), Instant::now());
        for user in ["ann", "bob"] {
            second.note(&id(user), true, 1, now);
        }
        assert_eq!(second.due(false, now), []);
        second.heard("ann", true);
        second.heard("nobody", true);
        assert_eq!(second.due(true, now + Duration::from_secs(10)), [told("bob", true, 1)]);
    }

    #[test]
    fn what_was_not_heard_for_long_is_forgotten() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.note(&id("bob"), true, 1, now);
        assert_eq!(changes.due(false, now + FORGOTTEN), []);
        assert!(changes.waiting.is_empty());
    }

    #[test]
    fn changes_of_one_user_come_in_order() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.note(&id("bob"), true, 1, now);
        changes.note(&id("bob"), false, 2, now + GRACE);
        changes.note(&id("bob"), true, 3, now + GRACE * 3);
        let due = changes.due(true, now + GRACE * 4);
        assert_eq!(due, [told("bob", true, 1), told("bob", false, 2), told("bob", true, 3)]);
    }
}
