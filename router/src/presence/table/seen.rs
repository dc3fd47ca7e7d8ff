//! When those who are offline were there last.

use hashbrown::HashMap;

use super::{Id, entry};

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether this is remembered at all.
    kept: bool,
    users: HashMap<Id, Time>,
}

/// In Unix milliseconds.
#[derive(Debug, Default)]
struct Time {
    last: u64,
    /// What stands in the bucket; 0: nothing.
    written: u64,
}

impl Seen {
    pub fn new(kept: bool) -> Self {
        Self {
            kept,
            users: HashMap::new(),
        }
    }

    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Something older than what is known says nothing.
    pub fn note(&mut self, user: &str, time: u64) {
        if self.kept {
            let (_, known) = entry(&mut self.users, user);
            known.last = known.last.max(time);
        }
    }

    pub fn written(&mut self, user: &str, time: u64) {
        if self.kept {
            let (_, known) = entry(&mut self.users, user);
            known.last = known.last.max(time);
            known.written = time;
        }
    }

    /// What was written has run out.
    pub fn ended(&mut self, user: &str) {
        if let Some(time) = self.users.get_mut(user) {
            let written = std::mem::take(&mut time.written);
            if time.last <= written {
                self.users.remove(user);
            }
        }
    }

    pub fn forget(&mut self, user: &str) {
        self.users.remove(user);
    }

    pub fn of(&self, user: &str) -> u64 {
        self.users.get(user).map_or(0, |time| time.last)
    }

    /// What is to be written of a user.
    pub fn unwritten(&self, user: &str) -> Option<u64> {
        let time = self.users.get(user)?;
        (time.last > time.written).then_some(time.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_never_grows_older_and_is_to_be_written_until_it_is() {
        let mut seen = Seen::new(true);
        assert_eq!((seen.of("bob"), seen.unwritten("bob")), (0, None));
        seen.note("bob", 5);
        seen.written("bob", 3);
        assert_eq!((seen.of("bob"), seen.unwritten("bob")), (5, Some(5)));
        seen.ended("bob");
        assert_eq!(seen.of("bob"), 5, "that was another");
        seen.written("bob", 5);
        seen.note("bob", 4);
        assert_eq!((seen.of("bob"), seen.unwritten("bob")), (5, None));
        seen.ended("bob");
        assert_eq!(seen.of("bob"), 0);
        let mut none = Seen::new(false);
        none.note("bob", 5);
        none.written("bob", 5);
        assert_eq!(none.of("bob"), 0);
    }
}
