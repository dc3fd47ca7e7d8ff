//! `kick`: ends a user's connections, and takes away sessions and tokens that it could come back with. `end-session`: one
//! session, with the connections that belong to it.

use bytes::Bytes;
use herald_proto::{
    Target,
    cluster::{Done, EndSession, EndSessionCommand, Kick, KickCommand, Revocation, control::Order, reply},
    id, subject,
};
use prost::Message;
use serde_json::json;
use tracing::warn;

use super::Router;
use crate::{
    bus::Bucket,
    events::{Event, Kind},
    failure::Failure,
    presence::Fact,
};

impl Router {
    pub(super) async fn kick(&self, command: KickCommand) -> Result<reply::Reply, Failure> {
        id::check("user", &command.user)?;
        if command.revoke {
            // First: who is cut off comes back at once.
            self.revoke(&command.user, command.time).await?;
            self.end_sessions(&command.user).await?;
        }
        let user = Target::user(command.user.as_str());
        let sequence = self.order(&user, Order::Kick(Kick {}), &command.dedup).await?.sequence;
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

    async fn end_sessions(&self, user: &str) -> Result<(), Failure> {
        let kv = &self.bus.kv;
        let sessions = format!("{}.>", subject::key(&[user]));
        kv.purge(Bucket::Sessions, &sessions).await?;
        // Of these there are watches, which hear of deletions only.
        let present = kv.select(Bucket::Presence, &Fact::prefixes_of(user)).await?;
        for (key, _) in present.entries {
            if let Some(Fact::Session { sid, .. }) = Fact::of(&key) {
                self.tell_logout(user, &sid, "kick").await;
                kv.delete(Bucket::Presence, &key).await?;
            }
        }
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
    async fn revoke(&self, user: &str, upto: u64) -> Result<(), Failure> {
        let key = subject::key(&[user]);
        let standing = self.bus.kv.get_latest(Bucket::Revoked, &key).await?;
        let standing = standing.map(|entry| Revocation::decode(entry.value));
        let upto = match standing {
            // By a gateway whose clock is ahead: what was refused stays refused.
            Some(Ok(standing)) => standing.upto.max(upto),
            Some(Err(error)) => {
                warn!(key, %error, "an unreadable revocation is replaced");
                upto
            }
            None => upto,
        };
        let value = Bytes::from(Revocation { upto }.encode_to_vec());
        let kept = Some(self.policy().revocations_kept);
        self.bus.kv.put(Bucket::Revoked, &key, value, kept).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use herald_proto::{cluster::Stored, subject::Names};

    use super::*;
    use crate::{bus::memory, config::LogSettings, policy::Policy};

    fn command(revoke: bool, time: u64, dedup: &str) -> Bytes {
        let command = KickCommand {
            user: "bob".to_owned(),
            revoke,
            time,
            dedup: dedup.to_owned(),
        };
        command.encode_to_vec().into()
    }

    #[tokio::test]
    async fn a_kick_stands_in_the_users_log_and_revocations_only_grow() {
        let bus = memory::bus(LogSettings::default().limits());
        let router = Router::new(bus.clone(), Policy::default(), Names::new("herald"));
        for (revoke, time, dedup) in [(false, 5, "a"), (true, 20, "b"), (true, 10, "c"), (true, 10, "c")] {
            router.handle("kick", command(revoke, time, dedup)).await;
        }
        let page = bus.log.read(&Target::user("bob"), 0, 10).await.unwrap();
        let kicks = page.entries.iter().filter(|entry| {
            let stored = Stored::decode(entry.payload.clone()).unwrap();
            matches!(stored.control.unwrap().order, Some(Order::Kick(_)))
        });
        assert_eq!(kicks.count(), 3, "the last was one command, asked twice");
        let entry = bus.kv.get_latest(Bucket::Revoked, "bob").await.unwrap().unwrap();
        assert_eq!(Revocation::decode(entry.value).unwrap().upto, 20);
    }
}
