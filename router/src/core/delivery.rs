//! `send`: one message to a user, a group or everybody.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use herald_proto::{
    ErrorCode, LogId, Target,
    cluster::{Control, Nudge, SendCommand, Sender, Sent, Stored, control::Order, reply},
    id,
};
use prost::Message;
use serde_json::json;
use tracing::debug;

use super::Router;
use crate::{
    bus::{Appended, BusError},
    events::{Event, Kind},
    failure::Failure,
    metrics,
    policy::Scope,
    telemetry::Span,
};

mod together;

impl Router {
    async fn send(&self, command: SendCommand) -> Result<reply::Reply, Failure> {
        let sender = command.sender.unwrap_or_default();
        let target = command
            .to
            .and_then(Target::from_proto)
            .ok_or_else(|| Failure::bad_request("no target"))?;
        target.check()?;
        self.check_send(&sender, &target).await?;
        metrics::message(&target, command.durable);

        let stored = Stored {
            id: command.id,
            from: sender.user.clone().or(command.from),
            kind: command.kind,
            body: command.body,
            content_type: command.content_type,
            time: id::now_ms(),
            ttl: command.ttl,
            control: None,
            to: None,
            dialect: command.dialect,
            original: command.original,
            trace: Span::current().traceparent().unwrap_or_default(),
        };
        let copy = self.copy(&sender, &target, command.copy, &stored);
        let told = self.events.wants(Kind::Message).then(|| stored.clone());
        let mut sent = self.put(&target, stored, command.durable, &command.dedup).await?;
        if let Some(stored) = told.filter(|stored| stored.id == sent.id) {
            self.message_sent(&target, stored, &sent);
        }
        if let Some((inbox, mut copy)) = copy {
            // Of a duplicate, the copy is the first one's too, where that is known.
            if !sent.id.is_empty() {
                copy.id.clone_from(&sent.id);
            }
            let dedup = format!("{}.copy", command.dedup);
            self.put(&inbox, copy, command.durable, &dedup).await?;
        }
        sent.online = self.online(&sender, &target);
        Ok(reply::Reply::Sent(sent))
    }

    /// Tells the application, under the message's own id.
    fn message_sent(&self, target: &Target, stored: Stored, sent: &Sent) {
        let mut message = json!({ "id": stored.id, "time": stored.time, "durable": sent.sequence > 0 });
        message["to"] = match target {
            Target::User(user) => json!({ "user": **user }),
            Target::Group(group) => json!({ "group": **group }),
            Target::All => json!({ "all": true }),
        };
        if let Some(kind) = stored.kind {
            message["kind"] = kind.into();
        }
        if sent.sequence > 0 {
            message["offset"] = format!("{}:{}", sent.log, sent.sequence).into();
        }
        match serde_json::from_slice(&stored.body) {
            Ok(body) if stored.content_type.is_empty() => message["body"] = body,
            _ => {
                message["body_base64"] = STANDARD.encode(&stored.body).into();
                message["content_type"] = stored.content_type.into();
            }
        }
        self.events.emit(Kind::Message, || Event {
            id: stored.id,
            user: stored.from,
            ..Event::new(Kind::Message, "", json!({ "message": message }))
        });
    }

    async fn put(&self, target: &Target, message: Stored, durable: bool, dedup: &str) -> Result<Sent, Failure> {
        if durable {
            self.store(target, message, dedup).await
        } else {
            self.pass_on(target, message).await
        }
    }

    /// What the sender's other devices get, if it was asked for: the message in the sender's own inbox, for whom it was.
    fn copy(&self, sender: &Sender, target: &Target, asked: bool, message: &Stored) -> Option<(Target, Stored)> {
        let (Some(user), Target::User(to), true) = (&sender.user, target, asked) else {
            return None;
        };
        let copy = Stored {
            to: Some(target.to_proto()),
            ..message.clone()
        };
        (**to != **user).then(|| (Target::user(user.as_str()), copy))
    }

    /// Durable: stored before it is answered.
    async fn store(&self, target: &Target, message: Stored, dedup: &str) -> Result<Sent, Failure> {
        let payload = Bytes::from(message.encode_to_vec());
        let appended = self.append(target, payload, dedup).await?;
        let log = self.log_id()?;
        let mut sent = Sent {
            id: message.id,
            sequence: appended.sequence,
            log: log.to_string(),
            online: None,
            duplicate: false,
            time: message.time,
        };
        debug!(
            message_id = sent.id,
            offset = %log.at(sent.sequence),
            to = target.kind(),
            duplicate = appended.duplicate,
            "stored"
        );
        if appended.duplicate {
            match self.first_of(appended.sequence).await? {
                Some(first) => {
                    // The proposed id is in the log: it was this very command, asked again after a lost answer.
                    sent.duplicate = first.id != sent.id;
                    sent.id = first.id;
                    sent.time = first.time;
                }
                // It was stored, and the log has forgotten it since, with its id and its time: none is told rather than
                // one that nobody has seen.
                None => {
                    sent.duplicate = true;
                    sent.id.clear();
                    sent.time = 0;
                }
            }
        }
        Ok(sent)
    }

    pub(super) fn log_id(&self) -> Result<LogId, Failure> {
        let log = self.bus.log.id().borrow().clone();
        log.ok_or_else(|| BusError::Unavailable("log unknown".into()).into())
    }

    pub(super) async fn append(&self, target: &Target, payload: Bytes, dedup: &str) -> Result<Appended, Failure> {
        let (begun, bytes) = (std::time::Instant::now(), payload.len());
        let span = Span::child("append");
        let appended = span.within(self.bus.log.append(target, payload, dedup)).await;
        span.end();
        metrics::append(begun.elapsed(), bytes, appended.as_ref());
        let appended = appended?;
        if appended.uncertain {
            self.nudge(target, appended.sequence).await;
        }
        Ok(appended)
    }

    /// Puts an order to the gateways into a target's log, in order with all else that its members get.
    pub(super) async fn order(&self, target: &Target, order: Order, dedup: &str) -> Result<Appended, Failure> {
        let entry = Stored {
            id: id::message_id(),
            time: id::now_ms(),
            control: Some(Control { order: Some(order) }),
            ..Stored::default()
        };
        let payload = Bytes::from(entry.encode_to_vec());
        self.append(target, payload, dedup).await
    }

    /// Makes the gateways look whether they have this. Without it they still do, with their next sweep.
    async fn nudge(&self, target: &Target, sequence: u64) {
        let nudge = Nudge {
            target: Some(target.to_proto()),
            sequence,
        };
        let nudge = Bytes::from(nudge.encode_to_vec());
        if let Err(error) = self.bus.pubsub.publish(&self.names.nudge(), nudge).await {
            debug!(%error, "no nudge");
        }
    }

    /// The message that a duplicate repeats; None where the log no longer holds it.
    pub(super) async fn first_of(&self, sequence: u64) -> Result<Option<Stored>, Failure> {
        let Some(entry) = self.bus.log.get(sequence).await? else {
            return Ok(None);
        };
        let first = Stored::decode(entry.payload);
        first
            .map(Some)
            .map_err(|e| Failure::new(ErrorCode::Internal, format!("unreadable log entry: {e}")))
    }

    /// Ephemeral: to those who are connected now.
    async fn pass_on(&self, target: &Target, message: Stored) -> Result<Sent, Failure> {
        let payload = Bytes::from(message.encode_to_vec());
        self.bus.log.publish_ephemeral(target, payload).await?;
        debug!(message_id = message.id, to = target.kind(), "passed on");
        Ok(Sent {
            id: message.id,
            time: message.time,
            ..Sent::default()
        })
    }

    async fn check_send(&self, sender: &Sender, target: &Target) -> Result<(), Failure> {
        let Some(user) = sender.user.as_deref() else {
            return Ok(());
        };
        match target {
            Target::All if sender.broadcast => Ok(()),
            Target::All => Err(Failure::forbidden("the token does not allow broadcasts")),
            Target::Group(group) if self.is_member(group, user).await? => Ok(()),
            Target::Group(group) => Err(Failure::forbidden(format!("not a member of {group}"))),
            Target::User(to) if &**to == user => Ok(()),
            Target::User(to) if self.may_send_to(user, to).await? => Ok(()),
            Target::User(to) => Err(Failure::forbidden(format!("not allowed to send to {to}"))),
        }
    }

    async fn may_send_to(&self, user: &str, to: &str) -> Result<bool, Failure> {
        if self.policy().direct.reaches(&self.directory.read(), user, to) {
            return Ok(true);
        }
        match self.policy().direct {
            Scope::Groups => self.share_group_latest(user, to).await,
            Scope::All | Scope::None => Ok(false),
        }
    }

    /// What the sender may know of whether anybody is there to receive it now.
    fn online(&self, sender: &Sender, target: &Target) -> Option<bool> {
        let viewer = sender.user.as_deref();
        let directory = self.directory.read();
        match target {
            Target::User(user) => self
                .policy()
                .sees_user(&directory, viewer, user)
                .then(|| directory.is_online(user)),
            Target::Group(group) => self
                .policy()
                .sees_members(viewer)
                .then(|| directory.others_online(group, viewer)),
            Target::All => self.policy().sees_everybody(viewer).then(|| directory.anyone_online()),
        }
    }
}

#[cfg(test)]
mod tests;
