//! `join`, `leave` and `connect`: who belongs to which group.
//!
//! A change is first appended to the user's own log as a control message, which tells every gateway that serves the
//! user, in order with all else; then the key is written. Should the second step fail, the client is told that the
//! outcome is unknown, and asks again.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use herald_proto::{
    ErrorCode,
    cluster::{ConnectBatch, ConnectCommand, Done, Groups, MemberCommand, MemberLeft, Membership, ReplyBatch, reply},
    id, subject,
};
use prost::Message;
use serde_json::json;
use tracing::debug;

use super::Router;
use crate::{
    bus::{Bucket, BusError, Standing, Version},
    events::{Event, Kind},
    failure::Failure,
    watches,
};

mod told;

/// A token's groups are joined this many at a time.
const JOINS_AT_ONCE: usize = 16;
/// A gateway follows a leave within this, or by the user's log.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// A membership that others change at the same time is tried so often.
const TURNS: u32 = 4;
/// Users of one batch are looked after this many at a time.
const CONNECTS_AT_ONCE: usize = 16;
/// Of one answer: half of what NATS carries by default.
const BATCH_BYTES: usize = 512 << 10;
/// How many groups are looked up at the leader before a one-to-one message is forbidden: the directory is rarely
/// behind, and a user in very many groups must not make one send cost as many requests.
const SHARED_GROUPS_TRIED: usize = 16;

impl Router {
    pub(super) async fn join(&self, command: MemberCommand) -> Result<reply::Reply, Failure> {
        id::check("user", &command.user)?;
        id::check("group", &command.group)?;
        let by_client = command.sender.unwrap_or_default().user.is_some();
        if by_client && !self.policy().client_may_join(&command.group) {
            return Err(Failure::forbidden(format!("clients may not join {}", command.group)));
        }
        let sequence = self.add_member(&command.user, &command.group, &command.dedup).await?;
        Ok(reply::Reply::Done(Done {
            sequence,
            ..Done::default()
        }))
    }

    pub(super) async fn leave(&self, command: MemberCommand) -> Result<reply::Reply, Failure> {
        id::check("user", &command.user)?;
        id::check("group", &command.group)?;
        for turn in 0..TURNS {
            if let Some(sequence) = self.try_leave(&command, turn).await? {
                return Ok(reply::Reply::Done(Done {
                    sequence,
                    ..Done::default()
                }));
            }
        }
        Err(contended())
    }

    /// None: the membership was changed meanwhile, or a leader that had stood still knew of it no more than of an old one.
    async fn try_leave(&self, command: &MemberCommand, turn: u32) -> Result<Option<u64>, Failure> {
        let (user, group) = (&command.user, &command.group);
        let key = subject::key(&[group, user]);
        let seen = self.bus.kv.look(Bucket::Groups, &key).await?;
        if let Standing::Gone(_) = seen {
            let nothing = self.bus.kv.change(Bucket::Groups, &key, None, seen.version()).await;
            return unless_contended(nothing.map(|_| 0));
        }
        let told = self.tell(user, group, false, &turned(&command.dedup, turn)).await?;
        let sequence = told.sequence;
        if told.superseded {
            return Ok(Some(sequence));
        }
        self.tell_application(user, group, false).await;
        let deleted = self.bus.kv.change(Bucket::Groups, &key, None, seen.version()).await;
        if unless_contended(deleted)?.is_none() {
            return Ok(None);
        }
        self.directory.write().leave(group, user, sequence);
        // Sent before the answer is, so that no other router lets the user send after it.
        let left = MemberLeft {
            user: user.clone(),
            group: group.clone(),
            sequence,
        };
        let left = Bytes::from(left.encode_to_vec());
        self.bus.pubsub.publish(&self.names.left(), left.clone()).await?;
        self.tell_nodes(user, &command.node, &left).await;
        Ok(Some(sequence))
    }

    /// What the user has left must reach none of its devices any more, wherever they are. A node that does not answer
    /// in time follows the user's log.
    async fn tell_nodes(&self, user: &str, asking: &str, word: &Bytes) {
        let nodes = self.directory.read().presence().nodes_of(user);
        let others = nodes.iter().filter(|node| ***node != *asking);
        let told = others.map(|node| async move {
            let subject = self.names.node(node);
            let answer = self.bus.pubsub.request(&subject, word.clone(), TOLD_WITHIN).await;
            if let Err(error) = answer {
                debug!(%error, "a node was not told of a leave");
            }
        });
        join_all(told).await;
    }

    /// Many users connect. Who asks gets at least one answer, and as many as fit into one message.
    pub(super) async fn connect_all(&self, batch: ConnectBatch) -> Result<reply::Reply, Failure> {
        let answers = stream::iter(batch.connects)
            .map(|command| async move { super::answered("connect", self.connect(command).await) })
            .buffered(CONNECTS_AT_ONCE);
        let mut size = 0;
        let fitting = answers.take_while(|reply| {
            let first = size == 0;
            size += reply.encoded_len();
            std::future::ready(first || size <= BATCH_BYTES)
        });
        Ok(reply::Reply::Batch(ReplyBatch {
            replies: fitting.collect().await,
        }))
    }

    /// A user connects somewhere: the token's groups are joined, and the answer lists all of the user's groups.
    async fn connect(&self, command: ConnectCommand) -> Result<reply::Reply, Failure> {
        id::check("user", &command.user)?;
        let user = &command.user;
        let missing: Vec<&String> = {
            let directory = self.directory.read();
            let groups = command.groups.iter();
            groups.filter(|group| !directory.is_member(group, user)).collect()
        };
        let dedup = &command.dedup;
        stream::iter(missing)
            .map(Ok)
            .try_for_each_concurrent(JOINS_AT_ONCE, |group| async move {
                id::check("group", group)?;
                let dedup = format!("{dedup}.{}", subject::escape(group));
                match self.add_member(user, group, &dedup).await {
                    // The token is good all the same; the answer lists the groups that it did get.
                    Err(failure) if failure.code == ErrorCode::Forbidden => Ok(()),
                    outcome => outcome.map(drop),
                }
            })
            .await?;
        let directory = self.directory.read();
        let connections = match command.node.is_empty() {
            true => Vec::new(),
            false => directory.presence().connections(user, &command.node),
        };
        Ok(reply::Reply::Groups(Groups {
            groups: directory.memberships(user).collect(),
            connections,
        }))
    }

    /// Returns the offset from which on the membership counts.
    async fn add_member(&self, user: &str, group: &str, dedup: &str) -> Result<u64, Failure> {
        for turn in 0..TURNS {
            if let Some(sequence) = self.try_add_member(user, group, &turned(dedup, turn)).await? {
                return Ok(sequence);
            }
        }
        Err(contended())
    }

    /// None: as for [`Self::try_leave`].
    async fn try_add_member(&self, user: &str, group: &str, dedup: &str) -> Result<Option<u64>, Failure> {
        let key = subject::key(&[group, user]);
        // Not from the directory: it may still show what the user has just left through another router.
        let seen = self.bus.kv.look(Bucket::Groups, &key).await?;
        if let Standing::Value(entry) = &seen {
            let start = watches::membership_start(self, &key, &entry.value);
            // A leave whose outcome nobody knows may be on its way to the bucket still: from this write on it comes too late.
            let same = Some(entry.value.clone());
            return self.write_member(user, group, same, seen.version(), start).await;
        }
        let limit = self.policy().groups_per_user;
        if self.directory.read().group_count_of(user) >= limit {
            return Err(Failure::forbidden(format!("in {limit} groups already, the limit")));
        }
        let told = self.tell(user, group, true, dedup).await?;
        let from_sequence = told.sequence;
        if told.superseded {
            return Ok(Some(from_sequence));
        }
        let log = self.bus.log.id().borrow().clone();
        let value = Membership {
            log: log.map(|id| id.to_string()).unwrap_or_default(),
            from_sequence,
        };
        let value = Bytes::from(value.encode_to_vec());
        self.tell_application(user, group, true).await;
        self.write_member(user, group, Some(value), seen.version(), from_sequence)
            .await
    }

    /// None: somebody else has changed the membership since it was `seen`.
    async fn write_member(
        &self,
        user: &str,
        group: &str,
        value: Option<Bytes>,
        seen: Version,
        from_sequence: u64,
    ) -> Result<Option<u64>, Failure> {
        let key = subject::key(&[group, user]);
        let written = self.bus.kv.change(Bucket::Groups, &key, value, seen).await;
        let written = unless_contended(written)?;
        if let Some(revision) = written {
            // The watch will say so too, a little later; what this router answers is true at once.
            let mut directory = self.directory.write();
            directory.put_member_ahead(group, user, from_sequence, revision);
        }
        Ok(written.map(|_| from_sequence))
    }

    /// Before it is done: one who asks again, because this router died, is told that nothing has changed.
    async fn tell_application(&self, user: &str, group: &str, joined: bool) {
        let event = || Event::new(Kind::Group, user, json!({ "group": group, "joined": joined }));
        self.events.emit_first(Kind::Group, event).await;
    }

    /// Reads follow writes: before anybody is told "not a member", the leader is asked.
    pub(super) async fn is_member(&self, group: &str, user: &str) -> Result<bool, Failure> {
        if self.directory.read().is_member(group, user) {
            return Ok(true);
        }
        let key = subject::key(&[group, user]);
        Ok(self.bus.kv.get_latest(Bucket::Groups, &key).await?.is_some())
    }

    pub(super) async fn share_group_latest(&self, user: &str, other: &str) -> Result<bool, Failure> {
        let groups = self.directory.read().groups_of(user);
        for group in groups.iter().take(SHARED_GROUPS_TRIED) {
            let key = subject::key(&[group, other]);
            if self.bus.kv.get_latest(Bucket::Groups, &key).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// None: somebody else has changed the key.
fn unless_contended<T>(outcome: Result<T, BusError>) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(BusError::Conflict) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn contended() -> Failure {
    BusError::Unavailable("the membership is being changed by others".to_owned()).into()
}

/// What is told another time is another message.
fn turned(dedup: &str, turn: u32) -> String {
    match turn {
        0 => dedup.to_owned(),
        turn => format!("{dedup}.{turn}"),
    }
}

#[cfg(test)]
mod tests;
