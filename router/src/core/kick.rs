//! `kick`: ends a user's connections, and takes away sessions and tokens that it could come back with. `end-session`: one
//! session, with the connections that belong to it.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use herald_proto::{
    Target,
    cluster::{
        Done, EndSession, EndSessionCommand, HttpSession, Kick, KickCommand, Revocation, Session, control::Order, reply,
    },
    id, limits, subject,
};
use prost::Message;
use serde_json::json;
use tracing::{debug, warn};

use super::Router;
use crate::{
    bus::{Bucket, BusError, Entry},
    events::{Event, Kind},
    failure::Failure,
    presence::Fact,
};

/// In milliseconds. A kick that comes in time ends what stands: the clock where it began may be ahead. One that comes later
/// has been answered, with a failure even, and is for what began before it was asked for.
const CLOCKS: u64 = limits::CLOCKS.as_millis() as u64;
/// A revocation that met another one is tried again this often.
const TURNS: usize = 8;
/// Sessions that are ended at the same time.
const ABREAST: usize = 16;

/// A user's sessions, each with the time when it began.
type Begun = HashMap<String, u64>;

/// Whether this kick stands in the bucket.
#[derive(PartialEq, Eq)]
enum Recorded {
    Now,
    /// Another router, or an earlier try, has come so far.
    Before,
}

impl Router {
    pub(super) async fn kick(&self, command: KickCommand) -> Result<reply::Reply, Failure> {
        id::check("user", &command.user)?;
        let mut upto = command.time.saturating_add(CLOCKS);
        if command.revoke {
            // Before it is written down, so that whoever goes on after another router has done it knows of nothing newer.
            let mut standing = self.begun(&command.user).await?;
            // First: who is cut off comes back at once.
            if self.revoke(&command).await? == Recorded::Before {
                // Perhaps it has been answered, and the user came back since.
                upto = command.time;
            }
            // The replica that was asked before may not have known of the youngest yet.
            let older = |(_, started): &(String, u64)| *started <= command.time;
            standing.extend(self.begun(&command.user).await?.into_iter().filter(older));
            self.end_sessions(&command.user, standing, upto).await?;
        }
        let user = Target::user(command.user.as_str());
        let order = Order::Kick(Kick { upto });
        let sequence = self.order(&user, order, &command.dedup).await?.sequence;
        Ok(reply::Reply::Done(Done {
            sequence,
            ..Done::default()
        }))
    }

    pub(super) async fn end_session(&self, command: EndSessionCommand) -> Result<reply::Reply, Failure> {
        let EndSessionCommand {
            user,
            session,
            kicked,
            dedup,
            reason,
        } = command;
        id::check("user", &user)?;
        id::check("session", &session)?;
        let (kv, key) = (&self.bus.kv, subject::key(&[&user, &session]));
        if kv.get_latest(Bucket::Sessions, &key).await?.is_some() {
            self.tell_logout(&user, &session, &reason).await;
        }
        // First: who is cut off comes back at once.
        kv.delete(Bucket::Sessions, &key).await?;
        let presence = Fact::Session {
            user: user.clone(),
            sid: session.clone(),
        };
        kv.delete(Bucket::Presence, &presence.key()).await?;
        let order = Order::EndSession(EndSession { session, kicked });
        let user = Target::user(user.as_str());
        let sequence = self.order(&user, order, &dedup).await?.sequence;
        Ok(reply::Reply::Done(Done {
            sequence,
            ..Done::default()
        }))
    }

    /// A user's sessions. An earlier try may have left of one no more than that it makes its user online.
    async fn begun(&self, user: &str) -> Result<Begun, Failure> {
        let kv = &self.bus.kv;
        let sessions = kv.select(Bucket::Sessions, &[subject::key(&[user])]).await?.entries;
        let present = kv.select(Bucket::Presence, &Fact::prefixes_of(user)).await?.entries;
        // One that cannot be read is as old as any.
        let present = present.into_iter().filter_map(|(key, entry)| match Fact::of(&key)? {
            Fact::Session { sid, .. } => {
                let session = HttpSession::decode(entry.value).unwrap_or_default();
                Some((sid.into_owned(), session.since))
            }
            _ => None,
        });
        let sessions = sessions.into_iter().filter_map(|(key, entry)| {
            let [_, sid]: [String; 2] = subject::split_key(&key)?.try_into().ok()?;
            Some((sid, Session::decode(entry.value).unwrap_or_default().started))
        });
        Ok(present.chain(sessions).collect())
    }

    /// By name: whatever has begun since has another one.
    async fn end_sessions(&self, user: &str, begun: Begun, upto: u64) -> Result<(), Failure> {
        let old = begun.into_iter().filter(|(_, started)| *started <= upto);
        let ended = stream::iter(old.map(Ok));
        let end = |(session, _): (String, u64)| async move { self.end_by_kick(user, session).await };
        ended.try_for_each_concurrent(ABREAST, end).await
    }

    async fn end_by_kick(&self, user: &str, session: String) -> Result<(), Failure> {
        let kv = &self.bus.kv;
        kv.delete(Bucket::Sessions, &subject::key(&[user, &session])).await?;
        self.tell_logout(user, &session, "kick").await;
        let presence = Fact::Session { user, sid: &*session };
        kv.delete(Bucket::Presence, &presence.key()).await?;
        Ok(())
    }

    /// Tells the application. Asked twice, it is one event.
    async fn tell_logout(&self, user: &str, session: &str, reason: &str) {
        let event = || Event {
            id: format!("logout.{}", subject::key(&[user, session])),
            ..Event::new(Kind::Logout, user, json!({ "session": session, "reason": reason }))
        };
        self.events.emit_first(Kind::Logout, event).await;
    }

    /// Kept for as long as the policy says; longer than that no token may last.
    async fn revoke(&self, command: &KickCommand) -> Result<Recorded, Failure> {
        let kv = &self.bus.kv;
        let key = subject::key(&[&command.user]);
        let kept = Some(self.policy().revocations_kept);
        for _ in 0..TURNS {
            let entry = kv.get_latest(Bucket::Revoked, &key).await?;
            let standing = entry.as_ref().map(|entry| recorded(&key, entry)).unwrap_or_default();
            let recorded = match !command.dedup.is_empty() && standing.by == command.dedup {
                true => Recorded::Before,
                false => Recorded::Now,
            };
            let revocation = Revocation {
                // By a gateway whose clock is ahead, or who was asked later: what was refused stays refused.
                upto: standing.upto.max(command.time),
                by: command.dedup.clone(),
            };
            let value = Bytes::from(revocation.encode_to_vec());
            let written = match entry {
                Some(entry) => kv.update(Bucket::Revoked, &key, value, entry.revision, kept).await,
                None => kv.create(Bucket::Revoked, &key, value, kept).await,
            };
            match written {
                Ok(_) => return Ok(recorded),
                Err(BusError::Conflict) => debug!(key, "a user is kicked twice at once"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(BusError::Unavailable("the user is kicked too often at once".to_owned()).into())
    }
}

fn recorded(key: &str, entry: &Entry) -> Revocation {
    let decoded = Revocation::decode(entry.value.clone());
    decoded
        .inspect_err(|error| warn!(key, %error, "an unreadable revocation is replaced"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
