//! Asking the routers: every command of every client and of the server API goes through here.

use std::time::Duration;

use bytes::Bytes;
use herald_proto::{
    ErrorCode,
    cluster::{ConnectCommand, Done, Groups, MemberCommand, Reply, SendCommand, Sent, reply},
    limits,
    subject::Names,
};
use herald_router::{
    bus::{Bus, BusError},
    failure::Failure,
};
use prost::Message;

use crate::metrics::Metrics;

/// Before the second try, where the first failed at once: time for a router to come back or another to take over.
const PAUSE: Duration = Duration::from_millis(250);

/// The routers, whichever of them answers.
#[derive(Clone)]
pub struct Routers {
    bus: Bus,
    names: Names,
    metrics: Metrics,
}

impl Routers {
    pub fn new(bus: Bus, names: Names, metrics: Metrics) -> Self {
        Self { bus, names, metrics }
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

    pub async fn connect(&self, command: &ConnectCommand) -> Result<Groups, Failure> {
        match self.ask("connect", command).await? {
            reply::Reply::Groups(groups) => Ok(groups),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks, and where the outcome is unknown asks once more. The command carries its dedup id, so that whatever the
    /// first try came to, it is done once.
    async fn ask(&self, verb: &str, command: &impl Message) -> Result<reply::Reply, Failure> {
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
        outcome
    }

    async fn ask_once(&self, verb: &str, payload: Bytes) -> Result<reply::Reply, Failure> {
        let subject = self.names.command(verb);
        let answer = self.bus.pubsub.request(&subject, payload, limits::ROUTER).await;
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

fn unexpected(reply: &reply::Reply) -> Failure {
    let kind = match reply {
        reply::Reply::Failure(_) => "failure",
        reply::Reply::Sent(_) => "sent",
        reply::Reply::Done(_) => "done",
        reply::Reply::Groups(_) => "groups",
    };
    Failure::new(ErrorCode::Internal, format!("a router answered with {kind}"))
}
