//! The router's core: what every command needs, and the table of commands.

use std::sync::Arc;

use bytes::Bytes;
use herald_proto::{
    ErrorCode,
    cluster::{self, reply},
    subject::Names,
};
use parking_lot::RwLock;
use prost::Message;

use crate::{
    bus::Bus, directory::Directory, events::Emitter, failure::Failure, metrics, policy::Policy, telemetry::Span,
};

#[cfg(test)]
mod between;
mod deletion;
mod delivery;
mod groups;
mod history;
mod kick;
mod pages;
mod presence;

/// One router. Cloning is cheap; all clones are the same router.
#[derive(Clone)]
pub struct Router {
    pub(crate) bus: Bus,
    policy: Arc<RwLock<Arc<Policy>>>,
    pub(crate) directory: Arc<RwLock<Directory>>,
    pub(crate) names: Arc<Names>,
    pub(crate) events: Emitter,
}

impl Router {
    pub fn new(bus: Bus, policy: Policy, names: Names) -> Self {
        Self {
            bus,
            directory: Arc::new(RwLock::new(Directory::new(!policy.last_seen_kept.is_zero()))),
            policy: Arc::new(RwLock::new(Arc::new(policy))),
            names: Arc::new(names),
            events: Emitter::none(),
        }
    }

    /// What happens here is told by this one.
    #[must_use]
    pub fn with_events(self, events: Emitter) -> Self {
        Self { events, ..self }
    }

    pub fn events(&self) -> &Emitter {
        &self.events
    }

    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The rules that hold now.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.read().clone()
    }

    /// From now on these rules hold; whether it is remembered when somebody was last seen stays as it was.
    pub fn set_policy(&self, policy: &Policy) {
        let mut rules = self.policy.write();
        *rules = Arc::new(Policy {
            last_seen_kept: rules.last_seen_kept,
            ..policy.clone()
        });
    }

    /// Carries out one command and encodes its answer. `verb` is the last token of the subject.
    pub async fn handle(&self, verb: &str, payload: Bytes) -> Bytes {
        let outcome = match verb {
            // That it is answered is the answer.
            "ping" => Ok(reply::Reply::Done(cluster::Done::default())),
            "send" => self.decoded(payload, |batch| self.send_all(batch)).await,
            "join" => self.decoded(payload, |command| self.join(command)).await,
            "leave" => self.decoded(payload, |command| self.leave(command)).await,
            "connect" => self.decoded(payload, |batch| self.connect_all(batch)).await,
            "kick" => self.decoded(payload, |command| self.kick(command)).await,
            "end-session" => self.decoded(payload, |command| self.end_session(command)).await,
            "presence" => self.decoded(payload, |command| self.presence(command)).await,
            "user" => self.decoded(payload, |command| self.user(command)).await,
            "users" => self.decoded(payload, |command| self.users(command)).await,
            "groups" => self.decoded(payload, |command| self.groups(command)).await,
            "group" => self.decoded(payload, |command| self.group(command)).await,
            "members" => self.decoded(payload, |command| self.members(command)).await,
            "nodes" => self.decoded(payload, |command| self.nodes(command)).await,
            "delete-group" => self.decoded(payload, |command| self.delete_group(command)).await,
            "purge" => self.decoded(payload, |command| self.purge(command)).await,
            "replace" => self.decoded(payload, |command| self.replace(command)).await,
            "history" => self.decoded(payload, |command| self.history(command)).await,
            _ => Err(Failure::new(
                ErrorCode::Unsupported,
                format!("this router does not know the command {verb}"),
            )),
        };
        let reply = match outcome {
            // Each has been counted.
            Ok(batch @ reply::Reply::Batch(_)) => cluster::Reply { reply: Some(batch) },
            outcome => answered(verb, outcome),
        };
        reply.encode_to_vec().into()
    }

    async fn decoded<C, F>(&self, payload: Bytes, act: impl FnOnce(C) -> F) -> Result<reply::Reply, Failure>
    where
        C: Message + Default,
        F: Future<Output = Result<reply::Reply, Failure>>,
    {
        let command = C::decode(payload).map_err(|e| Failure::bad_request(e.to_string()))?;
        act(command).await
    }
}

/// The answer to one command, which is counted.
fn answered(verb: &str, outcome: Result<reply::Reply, Failure>) -> cluster::Reply {
    metrics::command(verb, outcome.as_ref().err());
    if let Err(failure) = &outcome {
        Span::current().failed(failure.code.as_str());
    }
    let reply = outcome.unwrap_or_else(|failure| reply::Reply::Failure(failure.to_proto()));
    cluster::Reply { reply: Some(reply) }
}
