//! Which of a user's connections have made way for newer ones, as the user's log tells.

use std::collections::VecDeque;

/// Far more than can come at the same moment.
const REMEMBERED: usize = 32;

/// Nothing is allocated for the many who never have one.
#[derive(Debug, Default)]
pub(super) struct Replaced(Option<Box<Known>>);

#[derive(Debug, Default)]
struct Known {
    ids: VecDeque<Box<str>>,
}

impl Replaced {
    /// `connection` is to make way for `by`. False where `by` itself has made way before: then it stays.
    pub fn insert(&mut self, by: &str, connection: &str) -> bool {
        let known = &mut self.0.get_or_insert_default().ids;
        if known.iter().any(|known| **known == *by) {
            return false;
        }
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back(connection.into());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_replace_each_other_the_first_stays() {
        let mut replaced = Replaced::default();
        assert!(replaced.insert("a", "b"));
        assert!(!replaced.insert("b", "a"));
        assert!(replaced.insert("c", "a"));
        for i in 0..100 {
            assert!(replaced.insert("c", &i.to_string()));
        }
        assert_eq!(replaced.0.unwrap().ids.len(), REMEMBERED);
    }
}
