//! What was found out of sessions a moment ago.

use std::time::{Duration, Instant};

use dashmap::DashMap;

/// A session that was ended elsewhere is believed for so long at most.
const FRESH: Duration = Duration::from_millis(900);

/// By the session's key. Its size is bounded by what was asked within a second, and by [`Cache::sweep`].
#[derive(Default)]
pub struct Cache(DashMap<Box<str>, (Instant, bool)>);

impl Cache {
    /// Whether the session stands, where that was asked a moment ago.
    pub fn get(&self, key: &str) -> Option<bool> {
        let known = self.0.get(key)?;
        let (at, stands) = *known;
        (at.elapsed() < FRESH).then_some(stands)
    }

    /// `asked` is when the question was put: the answer may be that old. One that ended meanwhile stays ended: no session
    /// begins again.
    pub fn put(&self, key: &str, asked: Instant, stands: bool) {
        let mut known = self.0.entry(key.into()).or_insert((asked, stands));
        if known.1 || known.0.elapsed() >= FRESH {
            *known = (asked, stands);
        }
    }

    pub fn ended(&self, key: &str) {
        self.0.insert(key.into(), (Instant::now(), false));
    }

    /// Drops what is out of date, until dropped.
    pub async fn sweep(&self) {
        let mut every = tokio::time::interval(4 * FRESH);
        loop {
            every.tick().await;
            self.0.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_here_does_not_stand_by_an_older_answer() {
        let cache = Cache::default();
        assert_eq!(cache.get("a.1"), None);
        let asked = Instant::now();
        cache.put("a.1", asked, true);
        assert_eq!(cache.get("a.1"), Some(true));
        cache.ended("a.1");
        cache.put("a.1", asked, true);
        assert_eq!(cache.get("a.1"), Some(false));
        let Some(old) = asked.checked_sub(FRESH) else {
            return; // a machine that has only just started
        };
        cache.put("a.2", old, true);
        assert_eq!(cache.get("a.2"), None);
        cache.put("a.2", asked, false);
        assert_eq!(cache.get("a.2"), Some(false));
    }
}
