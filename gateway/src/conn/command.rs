//! One ordered command on its way through the cluster.

use std::{net::IpAddr, sync::Arc};

use herald_proto::{
    Target,
    cluster::{MemberCommand, SendCommand, Sender},
    dedup, id,
};
use herald_router::{failure::Failure, telemetry::Span};
use tracing::debug;

use super::{Conn, conversation::answer_on, lanes};
use crate::{
    event::{Answer, Send, Tag},
    gateway::Gateway,
    hub::membership::Change,
    metrics,
    services::Caller,
    session::Ordered,
};

/// Waits for its turn.
pub(super) struct InOrder {
    pub gateway: Arc<Gateway>,
    pub conn: Arc<Conn>,
    pub tag: Tag,
    pub serial: u64,
    pub command: Ordered,
}

impl lanes::Job for InOrder {
    async fn run(self) {
        let Self {
            gateway,
            conn,
            tag,
            serial,
            command,
        } = self;
        let Some((user, session)) = conn.caller() else {
            return; // nothing is ordered before it is known who is there
        };
        let job = Job {
            gateway: &gateway,
            connection: &conn.id,
            user: &user,
            session: session.as_deref(),
            address: conn.address,
            serial,
        };
        let to_itself = conn.dialect.answers_after_delivery() && command.is_to_user(&user);
        let answer = job.run(command).await;
        if let (true, Answer::Sent(sent)) = (to_itself, &answer) {
            Box::pin(gateway.hub.delivered(&Target::user(&*user), sent)).await;
        }
        answer_on(&conn, &tag, &answer);
    }
}

pub(crate) struct Job<'a> {
    pub gateway: &'a Arc<Gateway>,
    /// By which, with the serial, a retry is known.
    pub connection: &'a str,
    pub user: &'a str,
    pub session: Option<&'a str>,
    pub address: IpAddr,
    pub serial: u64,
}

impl Job<'_> {
    pub async fn run(&self, command: Ordered) -> Answer {
        let span = Span::root("command");
        span.text("herald.verb", command.verb());
        span.text("herald.connection", self.connection);
        let outcome = span.within(self.carry_out(command)).await;
        outcome.unwrap_or_else(|failure| {
            span.failed(failure.code.as_str());
            failure.into()
        })
    }

    async fn carry_out(&self, command: Ordered) -> Result<Answer, Failure> {
        match command {
            Ordered::Send { send, broadcast } => self.send(*send, broadcast).await,
            // Boxed, so that a message, which is what comes most, takes little.
            Ordered::Join { group } => Box::pin(self.join(group)).await,
            Ordered::Leave { group } => Box::pin(self.leave(group)).await,
        }
    }

    async fn send(&self, mut send: Send, broadcast: bool) -> Result<Answer, Failure> {
        metrics::command("send");
        let Gateway { hooks, services, .. } = &**self.gateway;
        hooks.send(services, || self.caller(), &mut send).await?;
        let origin = match &send.key {
            Some(key) => dedup::Origin::Key { user: self.user, key },
            None => dedup::Origin::Command {
                connection: self.connection,
                serial: self.serial,
            },
        };
        let (dialect, original) = send.original.map(|one| (one.dialect, one.bytes)).unzip();
        let command = SendCommand {
            sender: Some(Sender {
                user: Some(self.user.to_owned()),
                broadcast,
            }),
            to: Some(send.to.to_proto()),
            id: id::message_id(),
            dedup: dedup::id(origin, &send.to),
            body: send.body.bytes,
            content_type: send.body.content_type,
            kind: send.kind,
            durable: send.durable,
            ttl: send.ttl,
            from: None,
            copy: send.copy,
            dialect: dialect.unwrap_or_default(),
            original: original.unwrap_or_default(),
        };
        metrics::received("client", &send.to, send.durable);
        let (message_id, connection) = (&command.id, self.connection);
        debug!(
            message_id,
            connection,
            to = send.to.kind(),
            durable = send.durable,
            "accepted"
        );
        let sent = self.gateway.routers.send(&command).await?;
        Ok(Answer::Sent(sent.into()))
    }

    async fn join(&self, group: String) -> Result<Answer, Failure> {
        metrics::command("join");
        id::check("group", &group)?;
        let Gateway { hooks, services, .. } = &**self.gateway;
        hooks.join(services, || self.caller(), &group).await?;
        self.gateway.hub.prepare(&group).await?;
        let done = self.gateway.routers.join(&self.member_command(&group)).await?;
        self.follow(&group, done.sequence, true).await?;
        Ok(Answer::Joined { group })
    }

    async fn leave(&self, group: String) -> Result<Answer, Failure> {
        metrics::command("leave");
        id::check("group", &group)?;
        let done = self.gateway.routers.leave(&self.member_command(&group)).await?;
        if done.sequence > 0 {
            self.follow(&group, done.sequence, false).await?;
        }
        Ok(Answer::Left { group })
    }

    fn caller(&self) -> Caller {
        Caller {
            user: Some(self.user.to_owned()),
            session: self.session.map(str::to_owned),
            connection: Some(self.connection.to_owned()),
            address: self.address,
        }
    }

    fn member_command(&self, group: &str) -> MemberCommand {
        let origin = dedup::Origin::Command {
            connection: self.connection,
            serial: self.serial,
        };
        MemberCommand {
            sender: Some(Sender {
                user: Some(self.user.to_owned()),
                broadcast: false,
            }),
            user: self.user.to_owned(),
            group: group.to_owned(),
            dedup: dedup::id(origin, &Target::group(group)),
            node: self.gateway.node.clone(),
        }
    }

    /// What the router has answered holds on this node before the client hears of it.
    async fn follow(&self, group: &str, sequence: u64, joined: bool) -> Result<(), Failure> {
        let change = Change {
            user: self.user.into(),
            group: group.into(),
            sequence,
            joined,
        };
        Ok(self.gateway.hub.apply(&change).await?)
    }
}

#[cfg(all(test, feature = "otel"))]
mod traced;
