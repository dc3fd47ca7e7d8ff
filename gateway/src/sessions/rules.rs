//! What becomes of a session whose token is to be refreshed: pure.

use std::time::Duration;

use herald_proto::{cluster::Session, limits};

/// How long tokens and sessions last.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub token: Duration,
    /// A token may be refreshed for so long after its end; the session lasts as long.
    pub grace: Duration,
    pub max_age: Duration,
}

/// What a refresh comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Refresh {
    /// The session goes on like this: a new generation, or, where the answer to the last refresh was lost, that one again.
    Goes(Session),
    /// Its time is up, or a token was used that had been replaced long ago: whoever has it, somebody must log in again.
    Ends,
}

impl Terms {
    /// A session that begins now; times in Unix milliseconds.
    pub fn begin(&self, session: Session, now: u64) -> Session {
        Session {
            started: now,
            refreshed: now,
            expires: self.end(now, now),
            ..session
        }
    }

    pub fn refresh(&self, session: &Session, generation: u64, now: u64) -> Refresh {
        let expires = self.end(session.started, now);
        if expires <= now {
            return Refresh::Ends;
        }
        if generation == session.generation {
            return Refresh::Goes(Session {
                generation: generation + 1,
                refreshed: now,
                expires,
                ..session.clone()
            });
        }
        let late = now.saturating_sub(session.refreshed) > millis(limits::LOST_REPLY);
        if generation + 1 == session.generation && !late {
            return Refresh::Goes(Session {
                expires,
                ..session.clone()
            });
        }
        Refresh::Ends
    }

    /// How long the session's key stands: until the newest token cannot be refreshed any more. In whole seconds, as keys
    /// live.
    pub fn ttl(&self, session: &Session, now: u64) -> Duration {
        let left = session.expires.saturating_sub(now) + millis(self.grace);
        Duration::from_secs(left.div_ceil(1000).max(1))
    }

    fn end(&self, started: u64, now: u64) -> u64 {
        let last = started.saturating_add(millis(self.max_age));
        now.saturating_add(millis(self.token)).min(last)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        token: Duration::from_secs(3600),
        grace: Duration::from_secs(60),
        max_age: Duration::from_secs(30 * 86_400),
    };
    const START: u64 = 1_790_000_000_000;
    const HOUR: u64 = 3_600_000;

    fn begun() -> Session {
        let account = "zbj".to_owned();
        let session = Session {
            account,
            ..Session::default()
        };
        TERMS.begin(session, START)
    }

    fn goes(session: &Session, generation: u64, now: u64) -> Session {
        match TERMS.refresh(session, generation, now) {
            Refresh::Goes(session) => session,
            Refresh::Ends => panic!("it ends"),
        }
    }

    #[test]
    fn each_refresh_raises_the_generation() {
        let one = goes(&begun(), 0, START + HOUR / 2);
        assert_eq!((one.generation, one.expires), (1, START + HOUR / 2 + HOUR));
        let two = goes(&one, 1, START + HOUR);
        assert_eq!((two.generation, two.started, two.account.as_str()), (2, START, "zbj"));
        assert_eq!(TERMS.ttl(&two, START + HOUR), Duration::from_secs(3660));
    }

    #[test]
    fn a_lost_reply_is_given_again_and_a_replay_ends_the_session() {
        let one = goes(&begun(), 0, START);
        let again = goes(&one, 0, START + 60_000);
        assert_eq!(again.generation, 1, "the same generation, not a third");
        assert_eq!(again.refreshed, one.refreshed, "nor does the window move on");
        assert_eq!(TERMS.refresh(&one, 0, START + 60_001), Refresh::Ends);
        let two = goes(&one, 1, START + 1);
        assert_eq!(TERMS.refresh(&two, 0, START + 2), Refresh::Ends, "two generations ago");
        assert_eq!(
            TERMS.refresh(&two, 3, START + 2),
            Refresh::Ends,
            "there is no such generation"
        );
    }

    #[test]
    fn no_session_outlives_its_last_day() {
        let mut session = begun();
        let last = START + 30 * 24 * HOUR;
        session = goes(&session, 0, last - HOUR / 2);
        assert_eq!(session.expires, last, "the last token is shorter");
        assert_eq!(TERMS.refresh(&session, 1, last), Refresh::Ends);
    }
}
