//! Asking the routers: every command of every client and of the server API goes through here.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::{
    ErrorCode,
    cluster::{
        DeleteGroupCommand, Done, EndSessionCommand, GroupInfo, GroupPage, History, HistoryCommand, KickCommand,
        MemberCommand, MembersCommand, Node, NodesCommand, PageCommand, Presence, PresenceCommand, PurgeCommand,
        ReplaceCommand, Reply, User, UserCommand, UserPage, reply,
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

use crate::metrics::{self, Metrics};
use together::{Together, success};

mod together;

/// Before the second try, where the first failed at once: time for a router to come back or another to take over.
const PAUSE: Duration = Duration::from_millis(250);

/// The routers, whichever of them answers.
#[derive(Clone)]
pub struct Routers {
    bus: Bus,
    names: Names,
    metrics: Metrics,
    together: Arc<Together>,
}

impl Routers {
    pub fn new(bus: Bus, names: Names, metrics: Metrics) -> Self {
        Self {
            bus,
            names,
            metrics,
            together: Arc::default(),
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

    /// Asks, and where the outcome is unknown asks once more. The command carries its dedup id, so that whatever the
    /// first try came to, it is done once.
    async fn ask(&self, verb: &'static str, command: &impl Message) -> Result<reply::Reply, Failure> {
        let payload = Bytes::from(command.encode_to_vec());
        self.twice(verb, || self.ask_once(verb, payload.clone())).await
    }

    async fn twice<T, F>(&self, verb: &'static str, once: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let begun = std::time::Instant::now();
        let mut outcome = once().await;
        if let Err(failure) = &outcome
            && matches!(failure.code, ErrorCode::Timeout | ErrorCode::Unavailable)
        {
            self.metrics.router_retries.increment(1);
            if begun.elapsed() < PAUSE {
                tokio::time::sleep(PAUSE).await;
            }
            outcome = once().await;
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
        let reply = Reply::decode(answer).map_err(|error| {
            let what = format!("a router gave an unreadable answer: {error}");
            Failure::new(ErrorCode::Internal, what)
        })?;
        success(reply)
    }
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
