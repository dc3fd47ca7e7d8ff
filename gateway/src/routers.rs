//! Asking the routers: every command of every client and of the server API goes through here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::{
    ErrorCode,
    cluster::{
        ConnectBatch, ConnectCommand, DeleteGroupCommand, Done, EndSessionCommand, GroupInfo, GroupPage, Groups,
        History, HistoryCommand, KickCommand, MemberCommand, MembersCommand, Node, NodesCommand, PageCommand, Presence,
        PresenceCommand, PurgeCommand, ReplaceCommand, Reply, SendCommand, Sent, User, UserCommand, UserPage, reply,
    },
    limits,
    subject::Names,
};
use herald_router::{
    bus::{Bus, BusError, Headers, Message as BusMessage},
    failure::Failure,
    telemetry::Span,
};
use prost::Message;
use tokio_util::task::TaskTracker;

use crate::{
    batch::Batcher,
    metrics::{self, Metrics},
};

/// Before the second try, where the first failed at once: time for a router to come back or another to take over.
const PAUSE: Duration = Duration::from_millis(250);

/// Users that connect at once and are asked for together; and such requests under way at once.
const TOGETHER: usize = 64;
const FLIGHTS: usize = 8;

/// The routers, whichever of them answers.
#[derive(Clone)]
pub struct Routers {
    bus: Bus,
    names: Names,
    metrics: Metrics,
    connects: Arc<Batcher<(ConnectCommand, Span), Result<Groups, Failure>>>,
}

impl Routers {
    pub fn new(bus: Bus, names: Names, metrics: Metrics) -> Self {
        Self {
            bus,
            names,
            metrics,
            connects: Arc::new(Batcher::new(TOGETHER, FLIGHTS)),
        }
    }

    /// Whether any is there and answers.
    pub async fn ping(&self, deadline: Duration) -> Result<(), BusError> {
        let subject = self.names.command("ping");
        self.bus
            .pubsub
            .request(&subject, Bytes::new(), deadline)
            .await
            .map(drop)
    }

    pub async fn send(&self, command: &SendCommand) -> Result<Sent, Failure> {
        match self.ask("send", command).await? {
            reply::Reply::Sent(sent) => Ok(sent),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn join(&self, command: &MemberCommand) -> Result<Done, Failure> {
        match self.ask("join", command).await? {
            reply::Reply::Done(done) => Ok(done),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn leave(&self, command: &MemberCommand) -> Result<Done, Failure> {
        match self.ask("leave", command).await? {
            reply::Reply::Done(done) => Ok(done),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn kick(&self, command: &KickCommand) -> Result<(), Failure> {
        match self.ask("kick", command).await? {
            reply::Reply::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn end_session(&self, command: &EndSessionCommand) -> Result<(), Failure> {
        match self.ask("end-session", command).await? {
            reply::Reply::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn history(&self, command: &HistoryCommand) -> Result<History, Failure> {
        match self.ask("history", command).await? {
            reply::Reply::History(history) => Ok(history),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn presence(&self, command: &PresenceCommand) -> Result<Presence, Failure> {
        match self.ask("presence", command).await? {
            reply::Reply::Presence(presence) => Ok(presence),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn user(&self, command: &UserCommand) -> Result<User, Failure> {
        match self.ask("user", command).await? {
            reply::Reply::User(user) => Ok(user),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn users(&self, command: &PageCommand) -> Result<UserPage, Failure> {
        match self.ask("users", command).await? {
            reply::Reply::Users(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn members(&self, command: &MembersCommand) -> Result<UserPage, Failure> {
        match self.ask("members", command).await? {
            reply::Reply::Users(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn groups(&self, command: &PageCommand) -> Result<GroupPage, Failure> {
        match self.ask("groups", command).await? {
            reply::Reply::Page(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn group(&self, command: &MembersCommand) -> Result<GroupInfo, Failure> {
        match self.ask("group", command).await? {
            reply::Reply::Page(GroupPage { mut groups, .. }) if groups.len() == 1 => Ok(groups.remove(0)),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn nodes(&self) -> Result<Vec<Node>, Failure> {
        match self.ask("nodes", &NodesCommand {}).await? {
            reply::Reply::Nodes(nodes) => Ok(nodes.nodes),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn delete_group(&self, command: &DeleteGroupCommand) -> Result<Done, Failure> {
        match self.ask("delete-group", command).await? {
            reply::Reply::Done(done) => Ok(done),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn purge(&self, command: &PurgeCommand) -> Result<Done, Failure> {
        match self.ask("purge", command).await? {
            reply::Reply::Done(done) => Ok(done),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn replace(&self, command: &ReplaceCommand) -> Result<(), Failure> {
        match self.ask("replace", command).await? {
            reply::Reply::Done(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// A user's groups, those of the command joined before.
    pub async fn connect(&self, command: ConnectCommand) -> Result<Groups, Failure> {
        let answer = self.connects.ask((command, Span::current())).await;
        answer.unwrap_or_else(|| Err(Failure::new(ErrorCode::Unavailable, "the node is ending")))
    }

    /// Works until dropped.
    pub async fn run(&self, tasks: &TaskTracker) {
        let answer = |asked: Vec<(ConnectCommand, Span)>| {
            let routers = self.clone();
            let (commands, spans): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            // One request has one parent: of several that are sampled, the first.
            let span = spans.into_iter().find(Span::is_sampled);
            async move {
                let all = routers.connect_all(commands);
                match span {
                    Some(span) => span.within(all).await,
                    None => all.await,
                }
            }
        };
        self.connects.run(tasks, answer).await;
    }

    async fn connect_all(&self, commands: Vec<ConnectCommand>) -> Vec<Result<Groups, Failure>> {
        let mut answers = Vec::with_capacity(commands.len());
        let mut batch = ConnectBatch { connects: commands };
        while !batch.connects.is_empty() {
            let replies = match self.ask("connect", &batch).await {
                Ok(reply::Reply::Batch(batch)) if !batch.replies.is_empty() => batch.replies,
                Ok(other) => return fill(answers, batch.connects.len(), &unexpected(&other)),
                Err(failure) => return fill(answers, batch.connects.len(), &failure),
            };
            batch.connects.drain(..replies.len().min(batch.connects.len()));
            answers.extend(replies.into_iter().map(|reply| match reply.reply {
                Some(reply::Reply::Groups(groups)) => Ok(groups),
                Some(reply::Reply::Failure(failure)) => Err(Failure::from_proto(failure)),
                Some(other) => Err(unexpected(&other)),
                None => Err(Failure::new(ErrorCode::Internal, "a router gave an empty answer")),
            }));
        }
        answers
    }

    /// Asks, and where the outcome is unknown asks once more. The command carries its dedup id, so that whatever the
    /// first try came to, it is done once.
    async fn ask(&self, verb: &'static str, command: &impl Message) -> Result<reply::Reply, Failure> {
        let payload = Bytes::from(command.encode_to_vec());
        let begun = std::time::Instant::now();
        let mut outcome = self.ask_once(verb, payload.clone()).await;
        if let Err(failure) = &outcome
            && matches!(failure.code, ErrorCode::Timeout | ErrorCode::Unavailable)
        {
            self.metrics.router_retries.increment(1);
            if begun.elapsed() < PAUSE {
                tokio::time::sleep(PAUSE).await;
            }
            outcome = self.ask_once(verb, payload).await;
        }
        self.metrics.router_seconds.record(begun.elapsed().as_secs_f64());
        metrics::router_request(verb, outcome.as_ref().err().map(|failure| failure.code));
        outcome
    }

    async fn ask_traced(&self, subject: &str, parent: String, payload: Bytes) -> Result<Bytes, BusError> {
        let headers = Headers::from_iter([("traceparent", parent)]);
        let message = BusMessage { headers, payload };
        let answer = self.bus.pubsub.call(subject, message, limits::ROUTER).await?;
        Ok(answer.payload)
    }

    async fn ask_once(&self, verb: &str, payload: Bytes) -> Result<reply::Reply, Failure> {
        let subject = self.names.command(verb);
        let answer = match Span::current().traceparent() {
            Some(parent) => self.ask_traced(&subject, parent, payload).await,
            None => self.bus.pubsub.request(&subject, payload, limits::ROUTER).await,
        };
        let answer = answer.map_err(|error| match error {
            BusError::NoResponders => Failure::new(ErrorCode::Unavailable, "no router is there"),
            error => Failure::from(error),
        })?;
        match Reply::decode(answer).map(|reply| reply.reply) {
            Ok(Some(reply::Reply::Failure(failure))) => Err(Failure::from_proto(failure)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(Failure::new(ErrorCode::Internal, "a router gave an empty answer")),
            Err(error) => Err(Failure::new(
                ErrorCode::Internal,
                format!("a router gave an unreadable answer: {error}"),
            )),
        }
    }
}

fn fill<T>(mut answers: Vec<Result<T, Failure>>, more: usize, failure: &Failure) -> Vec<Result<T, Failure>> {
    answers.extend(std::iter::repeat_n(failure, more).map(|failure| Err(failure.clone())));
    answers
}

fn unexpected(reply: &reply::Reply) -> Failure {
    let kind = match reply {
        reply::Reply::Failure(_) => "failure",
        reply::Reply::Sent(_) => "sent",
        reply::Reply::Done(_) => "done",
        reply::Reply::Presence(_) => "presence",
        reply::Reply::User(_) => "a user",
        reply::Reply::Groups(_) => "memberships",
        reply::Reply::Batch(_) => "a batch",
        reply::Reply::History(_) => "history",
        reply::Reply::Users(_) => "users",
        reply::Reply::Page(_) => "groups",
        reply::Reply::Nodes(_) => "nodes",
    };
    Failure::new(ErrorCode::Internal, format!("a router answered with {kind}"))
}
