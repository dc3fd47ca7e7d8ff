//! What a watch knows to stand in its bucket: enough to notice that something went without a word.
//!
//! A purge tells watchers nothing; it only moves the stream's first sequence. A key that was told at a lower sequence
//! than that, and stays so, is gone. After a purge of the whole stream all is gone that stood at the look before: only
//! then the watch must begin anew. A purge of some keys, which nobody is to hear of, leaves others in their place.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap};

/// Keys are kept as hashes: 200,000 of them are 8 MB at most, and a collision costs a purge unnoticed until the next.
#[derive(Default)]
pub(super) struct Standing {
    hasher: DefaultHashBuilder,
    keys: HashMap<u64, u64>,
    /// The stream's first and last sequence at the last look.
    first: u64,
    last: u64,
    /// All that stood before this sequence at some look is gone, or was written again.
    emptied: u64,
}

impl Standing {
    /// `last` is the stream's last sequence, seen before anything was told.
    pub(super) fn new(last: u64) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    pub(super) fn put(&mut self, key: &str, sequence: u64) {
        self.keys.insert(self.hasher.hash_one(key), sequence);
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.keys.remove(&self.hasher.hash_one(key));
    }

    /// Whether the bucket, as it was found now, was emptied of what stands here. A key may have been written again in
    /// between, with its message still on the way, so only what was gone at the look before counts.
    pub(super) fn emptied(&mut self, messages: u64, first: u64, last: u64) -> bool {
        let before = std::mem::replace(&mut self.first, first);
        let emptied = self.emptied;
        if first > self.last {
            self.emptied = first;
        }
        self.last = last;
        if messages == 0 && !self.keys.is_empty() || self.keys.values().any(|sequence| *sequence < emptied) {
            return true;
        }
        // Went by a purge of some keys. Kept, they would be missed as soon as all others have been written again.
        self.keys.retain(|_, sequence| *sequence >= before);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_bucket_is_noticed_at_the_second_look() {
        let mut standing = Standing::new(0);
        standing.put("a", 1);
        standing.put("b", 5);
        assert!(!standing.emptied(2, 1, 5));
        standing.put("a", 7);
        assert!(!standing.emptied(1, 7, 7), "b's next message may be on the way");
        assert!(standing.emptied(1, 7, 7), "b is gone");
        standing.delete("b");
        assert!(!standing.emptied(1, 7, 7));
        assert!(standing.emptied(0, 8, 7), "nothing is left");
        standing.delete("a");
        assert!(!standing.emptied(0, 8, 7));
        standing.put("c", 8);
        assert!(!standing.emptied(1, 8, 8));
        assert!(!standing.emptied(1, 8, 8), "the first after all else went");
    }

    #[test]
    fn an_emptied_bucket_is_noticed_though_it_was_never_seen_full() {
        let mut standing = Standing::new(0);
        standing.put("a", 1);
        standing.put("new", 2);
        assert!(!standing.emptied(1, 2, 2));
        assert!(standing.emptied(1, 2, 2), "a is gone");
    }

    #[test]
    fn a_purge_of_some_keys_is_none_of_the_bucket() {
        let mut standing = Standing::new(3);
        standing.put("purged", 1);
        standing.put("inside", 2);
        standing.put("stays", 3);
        for _ in 0..3 {
            assert!(!standing.emptied(2, 2, 3));
        }
        // What stays is written again at every look.
        for last in 4..8 {
            standing.put("stays", last);
            assert!(!standing.emptied(2, 2, last));
        }
        assert_eq!(standing.keys.len(), 2, "what went is forgotten");
    }
}
