//! `POST /api/v1/messages/batch`: many messages, in order.

use std::sync::Arc;

use herald_proto::{ErrorCode, limits};
use herald_router::failure::Failure;
use hyper::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::call::{Asked, Call, Json, NoQuery},
    Job, Message, MessageIn, Outcome, Results, send_all,
};
use crate::dialect::object::Object;

/// Targets of all messages together: what a gateway sends within a few seconds.
const TARGETS: usize = 10_000;

pub(in crate::api) struct Post;

impl Call for Post {
    const ID: &'static str = "send_batch";
    const RIGHT: &'static str = "messages";
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/api/v1/messages/batch";
    const SUMMARY: &'static str = "Sends up to 1,000 messages";
    const ABOUT: &'static str = "Those to one target keep their order; others are sent at once. A message that cannot be is an error of the whole call, and nothing is sent. One result for each message, \
                                 and where that has several targets `results` with one for each. All of them together may \
                                 have 10,000 targets.";
    type Query = NoQuery;
    type Body = Json<Batch>;
    type Answer = BatchResults;

    async fn run(asked: Asked<'_, Self>) -> Result<BatchResults, Failure> {
        let messages = asked.body.0.messages;
        if !(1..=limits::TARGETS_PER_CALL).contains(&messages.len()) {
            let most = limits::TARGETS_PER_CALL;
            return Err(Failure::bad_request(format!("\"messages\" must be 1 to {most}")));
        }
        let planned = messages.into_iter().enumerate().map(|(place, Object(message))| {
            let planned = Planned::of(message);
            planned.map_err(|failure| Failure::new(failure.code, format!("messages[{place}]: {}", failure.message)))
        });
        let messages = planned.collect::<Result<Vec<_>, _>>()?;
        let targets = messages.iter().map(|planned| planned.targets.len());
        if targets.sum::<usize>() > TARGETS {
            return Err(Failure::new(
                ErrorCode::TooLarge,
                format!("more than {TARGETS} targets"),
            ));
        }
        let jobs = messages.iter().enumerate();
        let jobs = jobs.flat_map(|(place, planned)| planned.jobs(place));
        let sent = send_all(asked.gateway, asked.key, jobs.collect()).await;
        let mut sent = sent.into_iter().peekable();
        let results = messages.iter().enumerate().map(|(place, planned)| {
            let mut results = Vec::with_capacity(planned.targets.len());
            while let Some((_, outcome)) = sent.next_if(|((of, _), _)| *of == place) {
                results.push(outcome);
            }
            planned.outcome(results)
        });
        Ok(BatchResults {
            results: results.collect(),
        })
    }
}

#[derive(Deserialize, ToSchema)]
pub(in crate::api) struct Batch {
    #[schema(value_type = Vec<MessageIn>, min_items = 1, max_items = 1000)]
    messages: Vec<Object<MessageIn>>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::api) struct BatchResults {
    results: Vec<BatchOutcome>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum BatchOutcome {
    One(Outcome),
    /// Of a message to `users`.
    Several(Results),
}

/// A message of the batch that can be sent.
struct Planned {
    message: Arc<Message>,
    targets: Vec<herald_proto::Target>,
    several: bool,
}

impl Planned {
    fn of(message: MessageIn) -> Result<Self, Failure> {
        let several = message.to.0.users.is_some();
        let (message, targets) = Message::of(message)?;
        Ok(Self {
            message: Arc::new(message),
            targets,
            several,
        })
    }

    fn jobs(&self, message: usize) -> impl Iterator<Item = Job> {
        let targets = self.targets.iter().enumerate();
        targets.map(move |(place, target)| Job {
            place: (message, place),
            message: self.message.clone(),
            target: target.clone(),
        })
    }

    fn outcome(&self, mut results: Vec<Outcome>) -> BatchOutcome {
        match (self.several, results.pop()) {
            (false, Some(one)) => BatchOutcome::One(one),
            (_, last) => {
                results.extend(last);
                BatchOutcome::Several(Results { results })
            }
        }
    }
}
