//! What a watch knows to stand in its bucket: enough to notice that something went without a word.
//!
//! A purge of a whole stream tells watchers nothing; it only moves the stream's first sequence. So a key that was told
//! at a lower sequence than that, and stays so, is gone.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// Keys are kept as hashes: 200,000 of them are 8 MB at most, and a collision costs a purge unnoticed until the next.
#[derive(Default)]
pub(super) struct Standing {
    hasher: RandomState,
    keys: HashMap<u64, u64>,
    /// The stream's first sequence at the last look.
    first: u64,
}

impl Standing {
    pub(super) fn put(&mut self, key: &str, sequence: u64) {
        self.keys.insert(self.hasher.hash_one(key), sequence);
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.keys.remove(&self.hasher.hash_one(key));
    }

    /// Whether the bucket, as it was found now, lacks what stands here. A key may have been written again in between,
    /// with its message still on the way, so only what was gone at the look before counts.
    pub(super) fn lacks(&mut self, messages: u64, first: u64) -> bool {
        let before = std::mem::replace(&mut self.first, first);
        let emptied = messages == 0 && !self.keys.is_empty();
        emptied || self.keys.values().any(|sequence| *sequence < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_went_without_a_word_is_missed_at_the_second_look() {
        let mut standing = Standing::default();
        standing.put("a", 1);
        standing.put("b", 5);
        assert!(!standing.lacks(2, 1));
        standing.put("a", 6);
        assert!(!standing.lacks(2, 5), "a was written again");
        assert!(!standing.lacks(1, 6), "b's next message may be on the way");
        assert!(standing.lacks(1, 6), "b is gone");
        standing.delete("b");
        assert!(!standing.lacks(1, 6));
        assert!(standing.lacks(0, 7), "emptied");
        standing.delete("a");
        assert!(!standing.lacks(0, 7));
    }
}
