//! Sessions of those who log in over HTTP. A session is a key with a time to live, in a bucket that every gateway reads:
//! so one may log in on one node, send on another and refresh on a third. Beside it stands a key by which its user
//! counts as online.
//!
//! Tokens name their session; a token is good while its session stands. [`rules`] says what a refresh comes to.

use std::time::Instant;

use bytes::Bytes;
use herald_proto::{
    ErrorCode, Target,
    cluster::{EndSessionCommand, HttpSession, Session},
    dedup, id, subject,
};
use herald_router::{
    bus::{Bucket, Bus, BusError, Version},
    failure::Failure,
    presence::Fact,
};
use prost::Message;
use tracing::{debug, warn};

use crate::{auth::SessionClaim, config::Relogin, metrics, routers::Routers};

mod cache;
pub mod rules;

use cache::Cache;
use rules::{Refresh, Terms};

/// A write that met another one is tried again this often: refreshes of one session come one by one.
const TRIES: usize = 8;

pub struct Sessions {
    bus: Bus,
    terms: Terms,
    relogin: Relogin,
    cache: Cache,
}

/// What came of a refresh.
#[derive(Debug)]
pub enum Refreshed {
    Goes(Session),
    /// There is no such session.
    Gone,
    /// There was; it has been found to be over, and is to be ended.
    Ends,
}

/// Why a session ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Logout,
    /// A token was shown that had been replaced: somebody has copied it.
    Copied,
    /// Its user logged in again.
    Relogin,
    Kick,
}

impl Why {
    /// How it is called in the metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Copied => "copied",
            Self::Relogin => "relogin",
            Self::Kick => "kick",
        }
    }
}

/// A fresh name, of 128 random bits: nobody guesses it, and no two are the same.
pub fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

impl Sessions {
    pub fn new(bus: Bus, terms: Terms, relogin: Relogin) -> Self {
        Self {
            bus,
            terms,
            relogin,
            cache: Cache::default(),
        }
    }

    /// Works until dropped.
    pub async fn run(&self) {
        self.cache.sweep().await;
    }

    /// How late a token may be refreshed.
    pub fn grace(&self) -> std::time::Duration {
        self.terms.grace
    }

    /// A new session of a user, which counts as online from now on. It is newer than what was `revoked`, whatever the clock
    /// says: to a kick that comes again it must be.
    pub async fn begin(
        &self,
        user: &str,
        id: &str,
        session: Session,
        revoked: Option<u64>,
    ) -> Result<Session, Failure> {
        let now = id::now_ms().max(revoked.map_or(0, |upto| upto.saturating_add(1)));
        let session = self.terms.begin(session, now);
        let ttl = self.terms.ttl(&session, now);
        let (key, value) = (key(user, id), Bytes::from(session.encode_to_vec()));
        self.bus.kv.create(Bucket::Sessions, &key, value, Some(ttl)).await?;
        self.announce(user, id, &session, now, Version::Gone(0)).await?;
        metrics::session_created();
        Ok(session)
    }

    /// Which of a user's sessions must make way for a new one.
    pub async fn to_make_way(&self, user: &str, id: &str, session: &Session) -> Result<Vec<String>, Failure> {
        if self.relogin == Relogin::Several {
            return Ok(Vec::new());
        }
        let others = self.of(user).await?;
        let older = |other: &(String, Session)| (other.1.started, other.0.as_str()) < (session.started, id);
        Ok(others.into_iter().filter(older).map(|(id, _)| id).collect())
    }

    /// A user's sessions, as the nearest replica knows of them.
    pub async fn of(&self, user: &str) -> Result<Vec<(String, Session)>, Failure> {
        let found = self.bus.kv.select(Bucket::Sessions, &[subject::key(&[user])]).await?;
        let sessions = found.entries.into_iter().filter_map(|(key, entry)| {
            let [_, id]: [String; 2] = subject::split_key(&key)?.try_into().ok()?;
            Some((id, decoded(&key, entry.value)?))
        });
        Ok(sessions.collect())
    }

    /// Whether a session stands. What was found out a moment ago is believed; before "no" the leader is asked.
    pub async fn stands(&self, user: &str, id: &str) -> Result<bool, BusError> {
        let key = key(user, id);
        if let Some(stands) = self.cache.get(&key) {
            return Ok(stands);
        }
        let asked = Instant::now();
        let stands = self.bus.kv.get(Bucket::Sessions, &key).await?.is_some() || self.stands_now(user, id).await?;
        self.cache.put(&key, asked, stands);
        Ok(stands)
    }

    /// As the leader knows it.
    pub async fn stands_now(&self, user: &str, id: &str) -> Result<bool, BusError> {
        let entry = self.bus.kv.get_latest(Bucket::Sessions, &key(user, id)).await?;
        Ok(entry.is_some())
    }

    /// By compare-and-set, so that of two refreshes at once each sees what the other did.
    pub async fn refresh(&self, user: &str, claim: &SessionClaim) -> Result<Refreshed, Failure> {
        let key = key(user, &claim.id);
        for _ in 0..TRIES {
            let Some(entry) = self.bus.kv.get_latest(Bucket::Sessions, &key).await? else {
                return Ok(Refreshed::Gone);
            };
            let Some(session) = decoded(&key, entry.value) else {
                return Ok(Refreshed::Ends);
            };
            let now = id::now_ms();
            let Refresh::Goes(session) = self.terms.refresh(&session, claim.generation, now) else {
                return Ok(Refreshed::Ends);
            };
            let (value, ttl) = (session.encode_to_vec().into(), self.terms.ttl(&session, now));
            let update = self
                .bus
                .kv
                .update(Bucket::Sessions, &key, value, entry.revision, Some(ttl));
            match update.await {
                Ok(_) => {
                    let presence = presence_key(user, &claim.id);
                    let seen = self.bus.kv.look(Bucket::Presence, &presence).await?.version();
                    self.announce(user, &claim.id, &session, now, seen).await?;
                    return Ok(Refreshed::Goes(session));
                }
                Err(BusError::Conflict) => debug!("a session was refreshed twice at once"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(BusError::Unavailable("a session is refreshed too often at once".to_owned()).into())
    }

    /// Ends a session on every node, and the connections that were made with its tokens.
    pub async fn end(&self, routers: &Routers, user: &str, id: &str, why: Why) -> Result<(), Failure> {
        let origin = dedup::Origin::Command {
            connection: &new_id(),
            serial: 0,
        };
        let command = EndSessionCommand {
            user: user.to_owned(),
            session: id.to_owned(),
            kicked: matches!(why, Why::Kick | Why::Relogin),
            dedup: dedup::id(origin, &Target::user(user)),
            reason: why.name().to_owned(),
        };
        routers.end_session(&command).await?;
        self.cache.ended(&key(user, id));
        metrics::session_ended(why.name());
        Ok(())
    }

    /// The user counts as online while this key stands, which is as long as the session does. By compare-and-set, so that what
    /// comes late brings nobody back whose session has been ended meanwhile.
    async fn announce(&self, user: &str, id: &str, session: &Session, now: u64, seen: Version) -> Result<(), Failure> {
        let kv = &self.bus.kv;
        let since = Bytes::from(HttpSession { since: session.started }.encode_to_vec());
        let (presence, ttl) = (presence_key(user, id), self.terms.ttl(session, now));
        let put = match seen {
            Version::Value(revision) => kv.update(Bucket::Presence, &presence, since, revision, Some(ttl)).await,
            Version::Gone(_) => kv.create(Bucket::Presence, &presence, since, Some(ttl)).await,
        };
        match put {
            Ok(_) => {}
            Err(BusError::Conflict) => debug!("a session was announced twice at once"),
            Err(error) => return Err(error.into()),
        }
        // Whoever ended the session meanwhile may have looked for that key before it was there.
        if kv.get_latest(Bucket::Sessions, &key(user, id)).await?.is_none() {
            kv.delete(Bucket::Presence, &presence).await?;
            return Err(Failure::new(ErrorCode::Unauthorized, "the session was ended"));
        }
        Ok(())
    }
}

fn key(user: &str, id: &str) -> String {
    subject::key(&[user, id])
}

fn presence_key(user: &str, id: &str) -> String {
    let presence = Fact::Session {
        user: user.to_owned(),
        sid: id.to_owned(),
    };
    presence.key()
}

fn decoded(key: &str, value: Bytes) -> Option<Session> {
    Session::decode(value)
        .inspect_err(|error| warn!(key, %error, "an unreadable session"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use herald_router::{bus::memory, config::LogSettings};

    use super::*;

    #[tokio::test]
    async fn a_session_is_newer_than_the_kick_before_it_though_the_clock_is_behind() {
        let terms = Terms {
            token: Duration::from_secs(60),
            grace: Duration::from_secs(60),
            max_age: Duration::from_secs(3600),
        };
        let bus = memory::bus(LogSettings::default().limits());
        let sessions = Sessions::new(bus, terms, Relogin::Several);
        let kicked = id::now_ms() + 3_000;
        let begin = async |id, revoked| {
            let begun = sessions.begin("bob", id, Session::default(), revoked).await;
            begun.unwrap().started
        };
        assert_eq!(begin("a", Some(kicked)).await, kicked + 1);
        assert!(begin("b", None).await < kicked);
        assert!((1..kicked).contains(&begin("c", Some(5)).await));
    }
}
