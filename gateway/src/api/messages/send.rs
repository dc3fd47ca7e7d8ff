//! Sending for the application: one after another to each target, many targets at once.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, stream};
use herald_proto::{
    Target,
    cluster::{SendCommand, Sender},
    dedup, id,
};
use herald_router::failure::Failure;
use tracing::debug;

use super::{MessageIn, Outcome, Sent};
use crate::{dialect::body, event::Body, gateway::Gateway, metrics};

/// Targets that are sent to at once.
const AT_ONCE: usize = 64;

/// A message that can be sent.
pub(super) struct Message {
    key: Option<String>,
    body: Body,
    kind: Option<String>,
    durable: bool,
    ttl: u32,
    from: Option<String>,
}

/// One message to one target.
pub(super) struct Job {
    /// Of the message in the call, and of the target in the message.
    pub place: (usize, usize),
    pub message: Arc<Message>,
    pub target: Target,
}

impl Message {
    /// With its targets.
    pub fn of(message: MessageIn) -> Result<(Self, Vec<Target>), Failure> {
        for (name, label) in [("kind", &message.kind), ("key", &message.key), ("from", &message.from)] {
            if let Some(label) = label {
                id::check(name, label)?;
            }
        }
        let targets = message.to.0.targets()?;
        let base64 = message.body_base64.as_deref();
        let body = body::given(message.body.as_deref(), base64, message.content_type);
        let body = body.map_err(|e| Failure::bad_request(e.to_string()))?;
        if !body.content_type.is_empty() {
            id::check("content_type", &body.content_type)?;
        }
        let message = Self {
            key: message.key,
            body,
            kind: message.kind,
            durable: message.durable.unwrap_or(true),
            ttl: message.ttl.unwrap_or(0),
            from: message.from,
        };
        Ok((message, targets))
    }

    async fn send(&self, gateway: &Gateway, api_key: &str, target: &Target) -> Result<Sent, Failure> {
        target.check()?;
        let id = id::message_id();
        let origin = dedup::Origin::Api {
            name: api_key,
            // Without a key, only this gateway's own retry is to be recognised.
            key: self.key.as_deref().unwrap_or(&id),
        };
        let dedup = dedup::id(origin, target);
        let command = SendCommand {
            sender: Some(Sender::default()),
            to: Some(target.to_proto()),
            id,
            body: self.body.bytes.clone(),
            content_type: self.body.content_type.clone(),
            kind: self.kind.clone(),
            durable: self.durable,
            ttl: self.ttl,
            dedup,
            from: self.from.clone(),
            copy: false,
            ..SendCommand::default()
        };
        metrics::received("api", target, self.durable);
        let message_id = &command.id;
        let (to, durable) = (target.kind(), self.durable);
        debug!(message_id, api_key, to, durable, "accepted");
        Ok(gateway.routers.send(&command).await?.into())
    }
}

/// The outcomes in the order of their places. What goes to one target keeps the order of the jobs.
pub(super) async fn send_all(gateway: &Gateway, api_key: &str, jobs: Vec<Job>) -> Vec<((usize, usize), Outcome)> {
    let mut by_target: HashMap<Target, Vec<Job>> = HashMap::with_capacity(jobs.len());
    for job in jobs {
        by_target.entry(job.target.clone()).or_default().push(job);
    }
    let mut placed: Vec<_> = stream::iter(by_target.into_values())
        .map(|jobs| send_in_order(gateway, api_key, jobs))
        .buffer_unordered(AT_ONCE)
        .flat_map(stream::iter)
        .collect()
        .await;
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed
}

/// All of one target, one after another.
async fn send_in_order(gateway: &Gateway, api_key: &str, jobs: Vec<Job>) -> Vec<((usize, usize), Outcome)> {
    let mut outcomes = Vec::with_capacity(jobs.len());
    let mut failed = None;
    for job in jobs {
        // Where one has waited for routers in vain, those behind it do not: they could only come before it.
        let sent = match &failed {
            None => job.message.send(gateway, api_key, &job.target).await,
            Some(failure) => Err(Failure::clone(failure)),
        };
        let outcome = match sent {
            Ok(sent) => Outcome::Sent(sent),
            Err(failure) => {
                let outcome = Outcome::from(&failure);
                failed = failure.code.retry().then_some(failure);
                outcome
            }
        };
        outcomes.push((job.place, outcome));
    }
    outcomes
}
