//! Commands that many clients give at once, and that go to a router in one request.

use std::time::Duration;

use bytes::Bytes;
use herald_proto::{
    ErrorCode,
    cluster::{ConnectBatch, ConnectCommand, Groups, Reply, SendBatch, SendCommand, Sent, reply},
};
use herald_router::{failure::Failure, telemetry::Span};
use prost::Message;
use tokio_util::task::TaskTracker;

use super::{Routers, unexpected};
use crate::batch::{Batcher, Limits};

/// Users that connect at once and are asked for together; and such requests under way at once.
const CONNECTS: Limits = Limits::spaced(64, 8);
/// Messages: none waits for another request's end, for one that hangs must not hold up those that come after it. What waits
/// is bounded by the connections, each of which waits for its message before the next.
const SENDS: Limits = Limits {
    questions: 64,
    weight: 128 << 10,
    flights: 1 << 16,
    spacing: Duration::ZERO,
};

type Connects = Batcher<(ConnectCommand, Span), Result<Groups, Failure>>;
/// Encoded already.
type Sends = Batcher<Bytes, Result<Sent, Failure>>;

pub(super) struct Together {
    connects: Connects,
    /// Apart: who is answered last in a batch is answered when all are, and what is stored takes longer.
    durable: Sends,
    ephemeral: Sends,
}

impl Default for Together {
    fn default() -> Self {
        Self {
            connects: Batcher::new(CONNECTS, |_| 1),
            durable: Batcher::new(SENDS, Bytes::len),
            ephemeral: Batcher::new(SENDS, Bytes::len),
        }
    }
}

impl Routers {
    /// Works until dropped.
    pub async fn run(&self, tasks: &TaskTracker) {
        let Together {
            connects,
            durable,
            ephemeral,
        } = &*self.together;
        let connect = |asked| connect_all(self.clone(), asked);
        let send = |commands| send_all(self.clone(), commands);
        tokio::join!(
            connects.run(tasks, connect),
            durable.run(tasks, send),
            ephemeral.run(tasks, send),
        );
    }

    pub async fn send(&self, command: &SendCommand) -> Result<Sent, Failure> {
        let encoded = Bytes::from(command.encode_to_vec());
        self.twice("send", || self.send_once(command.durable, encoded.clone()))
            .await
    }

    async fn send_once(&self, durable: bool, command: Bytes) -> Result<Sent, Failure> {
        // A request has one parent.
        if Span::current().is_sampled() {
            let sent = Box::pin(send_all(self.clone(), vec![command])).await;
            return sent.into_iter().next().unwrap_or_else(|| Err(empty()));
        }
        let batcher = match durable {
            true => &self.together.durable,
            false => &self.together.ephemeral,
        };
        batcher.ask(command).await.unwrap_or_else(|| Err(ending()))
    }

    /// A user's groups, those of the command joined before.
    pub async fn connect(&self, command: ConnectCommand) -> Result<Groups, Failure> {
        let answer = self.together.connects.ask((command, Span::current())).await;
        answer.unwrap_or_else(|| Err(ending()))
    }

    /// Who is left out of an answer is asked for again.
    async fn connect_groups(&self, commands: Vec<ConnectCommand>) -> Vec<Result<Groups, Failure>> {
        let mut answers = Vec::with_capacity(commands.len());
        let mut batch = ConnectBatch { connects: commands };
        while !batch.connects.is_empty() {
            let replies = match self.ask("connect", &batch).await {
                Ok(reply::Reply::Batch(batch)) if !batch.replies.is_empty() => batch.replies,
                Ok(other) => return fill(answers, batch.connects.len(), &unexpected(&other)),
                Err(failure) => return fill(answers, batch.connects.len(), &failure),
            };
            batch.connects.drain(..replies.len().min(batch.connects.len()));
            answers.extend(replies.into_iter().map(|reply| match success(reply)? {
                reply::Reply::Groups(groups) => Ok(groups),
                other => Err(unexpected(&other)),
            }));
        }
        answers
    }
}

async fn connect_all(routers: Routers, asked: Vec<(ConnectCommand, Span)>) -> Vec<Result<Groups, Failure>> {
    let (commands, spans): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let all = routers.connect_groups(commands);
    // One request has one parent: of several that are sampled, the first.
    match spans.into_iter().find(Span::is_sampled) {
        Some(span) => span.within(all).await,
        None => all.await,
    }
}

/// Once: who asks knows whether to ask again.
async fn send_all(routers: Routers, commands: Vec<Bytes>) -> Vec<Result<Sent, Failure>> {
    let count = commands.len();
    let payload = SendBatch { sends: commands }.encode_to_vec();
    let replies = match routers.ask_once("send", payload.into()).await {
        Ok(reply::Reply::Batch(batch)) if batch.replies.len() == count => batch.replies,
        Ok(other) => return fill(Vec::new(), count, &unexpected(&other)),
        Err(failure) => return fill(Vec::new(), count, &failure),
    };
    let sent = replies.into_iter().map(|reply| match success(reply)? {
        reply::Reply::Sent(sent) => Ok(sent),
        other => Err(unexpected(&other)),
    });
    sent.collect()
}

pub(super) fn success(reply: Reply) -> Result<reply::Reply, Failure> {
    match reply.reply {
        Some(reply::Reply::Failure(failure)) => Err(Failure::from_proto(failure)),
        Some(reply) => Ok(reply),
        None => Err(empty()),
    }
}

fn empty() -> Failure {
    Failure::new(ErrorCode::Internal, "a router gave an empty answer")
}

fn ending() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the node is ending")
}

fn fill<T>(mut answers: Vec<Result<T, Failure>>, more: usize, failure: &Failure) -> Vec<Result<T, Failure>> {
    answers.extend(std::iter::repeat_n(failure, more).map(|failure| Err(failure.clone())));
    answers
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use herald_proto::{cluster::ReplyBatch, subject::Names};
    use herald_router::bus::{Bus, LogLimits, memory};
    use parking_lot::Mutex;

    use super::*;
    use crate::metrics::Metrics;

    /// How often each message was asked for.
    type Asked = Arc<Mutex<HashMap<String, u32>>>;

    /// Answers as a router does; of those with `late` in their id the outcome is unknown the first time.
    async fn router(bus: Bus, asked: Asked) {
        let mut requests = bus.pubsub.queue_subscribe("t.cmd.*", "router").await.unwrap();
        while let Some(request) = requests.next().await {
            let batch = SendBatch::decode(request.payload).unwrap();
            let answer = |command: Bytes| {
                let id = SendCommand::decode(command).unwrap().id;
                let mut asked = asked.lock();
                let times = asked.entry(id.clone()).or_default();
                *times += 1;
                let reply = match id.contains("late") && *times == 1 {
                    true => reply::Reply::Failure(Failure::new(ErrorCode::Timeout, "unknown").to_proto()),
                    false => reply::Reply::Sent(Sent { id, ..Sent::default() }),
                };
                Reply { reply: Some(reply) }
            };
            let batch = ReplyBatch {
                replies: batch.sends.into_iter().map(answer).collect(),
            };
            let reply = Reply {
                reply: Some(reply::Reply::Batch(batch)),
            };
            request.reply.send(reply.encode_to_vec().into()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_messages_that_went_together_only_those_are_sent_again_whose_outcome_is_unknown() {
        let bus = memory::bus(LogLimits {
            max_age: Duration::from_secs(60),
            max_messages_per_target: 100,
            max_bytes: 1 << 20,
            replicas: None,
        });
        let asked = Asked::default();
        let serving = tokio::spawn(router(bus.clone(), asked.clone()));
        let routers = Routers::new(bus, Names::new("t"), Metrics::new());
        let working = routers.clone();
        let running = tokio::spawn(async move { working.run(&TaskTracker::new()).await });
        tokio::task::yield_now().await;
        let ids = ["a", "b late", "c", "d late", "e"];
        let sending = ids.map(|id| {
            let routers = routers.clone();
            let command = SendCommand {
                id: id.to_owned(),
                ..SendCommand::default()
            };
            async move { routers.send(&command).await.map(|sent| sent.id) }
        });
        let sent = futures_util::future::join_all(sending).await;
        assert_eq!(sent, ids.map(|id| Ok(id.to_owned())));
        let times = ids.map(|id| asked.lock()[id]);
        assert_eq!(times, [1, 2, 1, 2, 1]);
        running.abort();
        serving.abort();
    }
}
