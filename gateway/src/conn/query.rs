//! One command that runs beside the ordered ones: it asks, and changes nothing here.

use std::{sync::Arc, time::Duration};

use herald_proto::{
    ErrorCode,
    cluster::{self, HistoryCommand, Sender},
};
use herald_router::{failure::Failure, telemetry::Span};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

mod call;
mod presence;

use super::{Conn, conversation::answer_on, lanes};
use crate::{
    event::{Answer, History, HistoryQuery, Message, Tag},
    gateway::Gateway,
    metrics,
    session::Beside,
};

/// Waiting for one's turn and asking the routers together: no answer takes longer than 10 s.
const DEADLINE: Duration = Duration::from_secs(9);

/// On whose behalf the routers are asked.
pub(crate) struct Asking {
    pub gateway: Arc<Gateway>,
    pub user: String,
}

pub(super) struct Query {
    pub asking: Asking,
    pub conn: Arc<Conn>,
    /// The connection's turns for large answers.
    pub large: Arc<Semaphore>,
    /// The connection's.
    pub end: CancellationToken,
}

/// Waits for its turn, or for room.
pub(super) struct Queued {
    pub query: Query,
    pub tag: Tag,
    pub command: Beside,
}

impl lanes::Job for Queued {
    async fn run(self) {
        let Self { query, tag, command } = self;
        metrics::command(command.verb());
        let span = Span::root("command");
        span.text("herald.verb", command.verb());
        span.text("herald.connection", &query.conn.id);
        span.within(query.carry_out(tag, command)).await;
    }
}

impl Query {
    async fn carry_out(self, tag: Tag, command: Beside) {
        match command {
            // Each boxed, for all of them together would be as large as the largest several times over.
            Beside::History(query) => Box::pin(self.history(tag, query)).await,
            Beside::Presence(query) => Box::pin(self.presence(tag, query)).await,
            Beside::Watch { users } => Box::pin(self.watch(tag, users)).await,
            Beside::Unwatch { users } => self.unwatch(tag, &users),
            Beside::Call(call) => Box::pin(self.call(tag, *call)).await,
            Beside::Routed { opcode, body } => Box::pin(self.routed(tag, opcode, body)).await,
        }
    }

    async fn history(&self, tag: Tag, query: HistoryQuery) {
        let asked = timeout(DEADLINE, async {
            let turn = self.large.acquire().await;
            (turn, self.asking.history(query).await)
        });
        // The turn lasts until the answer is in the outbox.
        let (_turn, outcome) = match asked.await {
            Ok((turn, outcome)) => (turn.ok(), outcome),
            Err(_) => (None, Err(Failure::new(ErrorCode::Timeout, "no answer in time"))),
        };
        match outcome {
            Ok(history) if tag.wants_answer() => {
                let frame = self.conn.dialect.answer(&tag, &Answer::History(history));
                self.conn.answer_in_time(frame).await;
            }
            Ok(_) => {}
            Err(failure) => answer_on(&self.conn, &tag, &failure.into()),
        }
    }
}

impl Asking {
    pub async fn history(&self, query: HistoryQuery) -> Result<History, Failure> {
        let of = query.of.target(&self.user);
        let command = HistoryCommand {
            sender: Some(Sender {
                user: Some(self.user.clone()),
                broadcast: false,
            }),
            of: Some(of.to_proto()),
            after: query.after,
            before: query.before,
            limit: query.limit.unwrap_or_default(),
        };
        let cluster::History {
            entries,
            more,
            gap,
            log,
        } = self.gateway.routers.history(&command).await?;
        let messages = entries.into_iter().filter_map(|entry| {
            let offset = format!("{log}:{}", entry.sequence);
            Some(Message::new(&of, entry.stored?, Some(offset)))
        });
        Ok(History {
            messages: messages.collect(),
            more,
            gap,
        })
    }
}
