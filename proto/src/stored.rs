//! Whether a stored message still is one: the rules that hold for every reader, live, replay and history alike.

use crate::{cluster::Stored, limits};

impl Stored {
    /// Stored so late that its sender had given it up. `stored_ms` is the log's time.
    pub fn is_void(&self, stored_ms: u64) -> bool {
        let late = u64::try_from(limits::VOID_AFTER.as_millis()).unwrap_or(u64::MAX);
        stored_ms > self.time.saturating_add(late)
    }

    /// Past its `ttl`, which filters at delivery and deletes nothing.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.ttl > 0 && now_ms > self.time.saturating_add(u64::from(self.ttl) * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_by_their_own_time() {
        let stored = Stored {
            time: 1_000_000,
            ttl: 3,
            ..Stored::default()
        };
        assert!(!stored.is_void(1_060_000) && stored.is_void(1_060_001));
        assert!(!stored.is_expired(1_003_000) && stored.is_expired(1_003_001));
        let kept = Stored { ttl: 0, ..stored };
        assert!(!kept.is_expired(u64::MAX));
    }
}
