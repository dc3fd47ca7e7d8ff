//! Connections that have gone without a proof of what they were given last, while others of their user and dialect
//! stayed. Should they come back within a while they go on where they were, so that the others' proofs must not move the
//! cursor past them meanwhile.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Key, Position};

/// The articles' clients come back after 10 s. One who is away for longer than this has what the others of its user have.
const AWAY: Duration = Duration::from_secs(600);
/// Of one user and dialect: of more, those that are furthest behind stand for all.
const MOST: usize = 8;

#[derive(Default)]
pub(super) struct Absent(HashMap<Key, Vec<Left>>);

struct Left {
    at: Position,
    until: Instant,
}

impl Absent {
    pub fn left(&mut self, key: Key, at: Position, now: Instant) {
        let left = self.0.entry(key).or_default();
        left.push(Left { at, until: now + AWAY });
        left.sort_by_key(|left| left.at.as_ref().map(|cursor| cursor.sequence));
        left.truncate(MOST);
    }

    /// One has come, perhaps one of these: it begins where the cursor is, so that it is given whatever any of them lacks,
    /// and takes the place of the one that was furthest behind.
    pub fn came(&mut self, user: &Arc<str>, dialect: &'static str) {
        let key = (user.clone(), dialect);
        if let Some(left) = self.0.get_mut(&key) {
            left.remove(0);
            if left.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    pub fn of(&self, key: &Key) -> impl Iterator<Item = &Position> {
        self.0.get(key).into_iter().flatten().map(|left| &left.at)
    }

    pub fn knows(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    pub fn forget(&mut self, now: Instant) {
        self.0.retain(|_, left| {
            left.retain(|left| left.until > now);
            !left.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Position {
        Some(format!("5f3a@0:{sequence}").parse().unwrap())
    }

    #[test]
    fn who_comes_back_takes_the_place_of_the_one_furthest_behind() {
        let mut absent = Absent::default();
        let user: Arc<str> = "7".into();
        let key = (user.clone(), "im");
        let now = Instant::now();
        for sequence in [9, 5, 7] {
            absent.left(key.clone(), at(sequence), now);
        }
        assert_eq!(absent.of(&key).next(), Some(&at(5)));
        absent.came(&user, "im");
        absent.came(&user, "hub");
        assert_eq!(absent.of(&key).cloned().collect::<Vec<_>>(), [at(7), at(9)]);
        absent.left(key.clone(), None, now);
        assert_eq!(absent.of(&key).next(), Some(&None), "it has proved nothing at all");
        absent.forget(now + AWAY / 2);
        assert!(absent.knows(&key));
        absent.forget(now + AWAY);
        assert!(!absent.knows(&key) && absent.0.is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let mut absent = Absent::default();
        let key: Key = ("7".into(), "im");
        for sequence in (0..100).rev() {
            absent.left(key.clone(), at(sequence), Instant::now());
        }
        assert_eq!((absent.of(&key).count(), absent.of(&key).next()), (MOST, Some(&at(0))));
    }
}
