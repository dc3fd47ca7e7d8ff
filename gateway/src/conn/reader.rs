//! The reading half of a connection, which runs its session: from the upgrade to the end.

use std::{
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Waker},
    time::Instant,
};

use bytes::Bytes;
use herald_proto::{CloseCode, ErrorCode, cluster::Sender, dedup, id};
use herald_router::failure::Failure;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    Conn,
    lanes::Lanes,
    receive::{Broken, Received, Receiver},
    writer,
};
use crate::{
    addresses::Slot,
    auth::Identity,
    dialect::{Dialect, ws},
    event::{Answer, ConnectOptions, Ending, Sent},
    gateway::{Gateway, OpenGuard, close_code},
    hub::membership::Change,
    metrics,
    session::{Action, Ordered, Session},
};

/// What was found out before the upgrade.
pub struct Opening {
    pub dialect: Dialect,
    pub token: Token,
    pub options: ConnectOptions,
}

pub enum Token {
    /// The first frame must bring it.
    None,
    Good(Box<Identity>),
    /// Said only now: browsers cannot read the status of a refused upgrade.
    Bad,
}

/// Begins a connection: whatever is needed only once happens here, so that the task that stays is small.
pub async fn start(
    gateway: &Arc<Gateway>,
    upgraded: hyper::upgrade::Upgraded,
    opening: Opening,
    address: Option<Slot>,
) {
    let Some((socket, ahead)) = bare_socket(upgraded) else {
        tracing::error!("an upgraded connection is no TCP stream");
        return;
    };
    let (read, write) = socket.into_split();
    let limit = usize::try_from(gateway.limits.frame.as_u64()).unwrap_or(usize::MAX);
    let receiver = Receiver::new(&ahead, read, limit);
    drop(ahead);
    let (conn, open) = gateway.open(opening.dialect);
    let bytes_out = gateway.metrics.bytes_out.clone();
    gateway.tasks.spawn(writer::run(conn.clone(), write, bytes_out));
    let mut reader = Reader {
        session: Session::new(gateway.command_rate()),
        gateway: gateway.clone(),
        conn,
        lanes: None,
        welcomed: false,
        _open: open,
        _address: address,
    };
    match opening.token {
        Token::None => {}
        Token::Bad => reader.conn.close(CloseCode::Unauthorized),
        Token::Good(identity) => reader.connect(None, &identity, &opening.options).await,
    }
    gateway.tasks.spawn(reader.run(receiver));
}

/// What hyper keeps around a connection is of no use any more: only the socket stays, and what was read ahead.
fn bare_socket(upgraded: hyper::upgrade::Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let socket = parts.io.into_inner();
    // The socket remembers the task that last waited for it, hyper's, and would keep its memory: let it forget.
    let mut nobody = Context::from_waker(Waker::noop());
    let _readiness = (
        socket.poll_read_ready(&mut nobody),
        socket.poll_write_ready(&mut nobody),
    );
    Some((socket, parts.read_buf))
}

struct Reader {
    gateway: Arc<Gateway>,
    conn: Arc<Conn>,
    session: Session,
    lanes: Option<Box<Lanes>>,
    welcomed: bool,
    _open: OpenGuard,
    _address: Option<Slot>,
}

impl Reader {
    async fn run(mut self, mut receiver: Receiver) {
        let conn = self.conn.clone();
        tokio::select! {
            ending = self.read(&mut receiver) => conn.outbox.close(ending),
            () = conn.outbox.not_open() => {}
        }
        Box::pin(self.end(receiver)).await;
    }

    async fn end(self, mut receiver: Receiver) {
        let outbox = &self.conn.outbox;
        metrics::closed(match outbox.ending() {
            Some(Ending::Code(code)) => Some(code),
            Some(Ending::Peer(_)) | None => None,
        });
        self.gateway.disconnect(&self.conn, self.welcomed);
        // The socket must not be closed over what the client still sends, or it could miss the reason.
        tokio::select! {
            () = outbox.ended() => {}
            () = receiver.discard() => outbox.ended().await,
        }
    }

    async fn read(&mut self, receiver: &mut Receiver) -> Ending {
        if !self.welcomed {
            let wait = self.gateway.limits.connect_timeout;
            let first = tokio::time::timeout(wait, self.first_frame(receiver));
            match Box::pin(first).await {
                Ok(Ok(())) => {}
                Ok(Err(ending)) => return ending,
                Err(_) => return Ending::Code(CloseCode::NoConnect),
            }
        }
        loop {
            if let Err(ending) = self.one_burst(receiver).await {
                return ending;
            }
        }
    }

    /// Until the client is known.
    async fn first_frame(&mut self, receiver: &mut Receiver) -> Result<(), Ending> {
        while !self.welcomed {
            self.one_burst(receiver).await?;
        }
        Ok(())
    }

    async fn one_burst(&mut self, receiver: &mut Receiver) -> Result<(), Ending> {
        receiver.readable().await.map_err(|_| Ending::Peer(None))?;
        Box::pin(async {
            let read = AtomicU64::new(0);
            let mut burst = receiver.burst(&read);
            loop {
                match burst.next().await {
                    Ok(Some(received)) => self.received(received).await?,
                    Ok(None) => return Ok(()),
                    Err(Broken::Gone) => return Err(Ending::Peer(None)),
                    Err(Broken::Rules(code)) => return Err(Ending::Code(code)),
                }
            }
        })
        .await
    }

    async fn received(&mut self, received: Received) -> Result<(), Ending> {
        self.conn.saw_frame();
        match received {
            Received::Ping(payload) => self.conn.outbox.push_answer(ws::pong(&payload)),
            Received::Pong => {}
            Received::Close(code) => return Err(Ending::Peer(code)),
            Received::Text(payload) => self.frame(true, payload).await,
            Received::Binary(payload) => self.frame(false, payload).await,
        }
        Ok(())
    }

    async fn frame(&mut self, text: bool, payload: Bytes) {
        let frame = self.conn.dialect.decode(text, payload);
        match self.session.on_frame(frame, Instant::now()) {
            Action::Answer(id, answer) => self.answer(id, &answer),
            Action::Refuse(id, answer, code) => {
                self.answer(id, &answer);
                self.conn.close(code);
            }
            Action::Connect { id, token, options } => self.connect_with(id, &token, &options).await,
            Action::Refresh { id, token } => self.refresh(id, &token),
            Action::Ordered { id, serial, command } => self.in_order(id, serial, command).await,
        }
    }

    /// Failures are told even to those who asked for no answer.
    fn answer(&self, id: Option<u32>, answer: &Answer) {
        answer_on(&self.conn, id, answer);
    }

    async fn connect_with(&mut self, id: Option<u32>, token: &str, options: &ConnectOptions) {
        match self.gateway.auth.verify(token) {
            Ok(identity) => self.connect(id, &identity, options).await,
            Err(error) => {
                metrics::refused("token");
                tracing::debug!(%error, "a token was refused");
                self.answer(
                    id,
                    &Failure::new(ErrorCode::Unauthorized, "the token is not valid").into(),
                );
                self.conn.close(CloseCode::Unauthorized);
            }
        }
    }

    async fn connect(&mut self, id: Option<u32>, identity: &Identity, options: &ConnectOptions) {
        let gateway = self.gateway.clone();
        let waits = self.conn.reader_waits();
        let outcome = gateway.connect(&self.conn, id, identity, options).await;
        drop(waits);
        match outcome {
            Ok(()) => {
                self.welcomed = true;
                self.session.connected(identity);
            }
            Err(failure) => {
                let code = close_code(&failure);
                self.answer(id, &failure.into());
                self.conn.close(code);
            }
        }
    }

    fn refresh(&mut self, id: Option<u32>, token: &str) {
        metrics::command("refresh");
        let verified = self.gateway.auth.verify(token);
        let answer = match verified {
            Ok(identity) if self.session.user() == Some(&identity.user) => {
                self.session.refreshed(&identity);
                self.gateway.set_expiry(&self.conn, &identity);
                Answer::Refreshed {
                    expires: identity.expires,
                }
            }
            Ok(_) => Failure::new(ErrorCode::Unauthorized, "the token is another user's").into(),
            Err(_) => Failure::new(ErrorCode::Unauthorized, "the token is not valid").into(),
        };
        self.answer(id, &answer);
    }

    async fn in_order(&mut self, id: Option<u32>, serial: u64, command: Ordered) {
        let Some(user) = self.session.user().map(str::to_owned) else {
            return; // the session orders nothing before it knows the user
        };
        let lanes = self
            .lanes
            .get_or_insert_with(|| Box::new(Lanes::new(self.gateway.tasks.clone())));
        let job = Job {
            gateway: self.gateway.clone(),
            conn: self.conn.clone(),
            user,
            serial,
        };
        let waits = self.conn.reader_waits();
        lanes
            .in_order(async move {
                let answer = job.run(command).await;
                answer_on(&job.conn, id, &answer);
            })
            .await;
        drop(waits);
    }
}

fn answer_on(conn: &Conn, id: Option<u32>, answer: &Answer) {
    if id.is_some() || matches!(answer, Answer::Error(_)) {
        conn.answer(id, answer);
    }
}

/// One command on its way through the cluster.
struct Job {
    gateway: Arc<Gateway>,
    conn: Arc<Conn>,
    user: String,
    serial: u64,
}

impl Job {
    async fn run(&self, command: Ordered) -> Answer {
        let outcome = match command {
            Ordered::Send { send, broadcast } => self.send(*send, broadcast).await,
            Ordered::Join { group } => self.join(group).await,
            Ordered::Leave { group } => self.leave(group).await,
        };
        outcome.unwrap_or_else(Answer::from)
    }

    async fn send(&self, send: crate::event::Send, broadcast: bool) -> Result<Answer, Failure> {
        metrics::command("send");
        let origin = match &send.key {
            Some(key) => dedup::Origin::Key { user: &self.user, key },
            None => dedup::Origin::Command {
                connection: &self.conn.id,
                serial: self.serial,
            },
        };
        let command = herald_proto::cluster::SendCommand {
            sender: Some(Sender {
                user: Some(self.user.clone()),
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
        };
        let sent = self.gateway.routers.send(&command).await?;
        Ok(Answer::Sent(Sent {
            id: sent.id,
            offset: (sent.sequence > 0).then(|| format!("{}:{}", sent.log, sent.sequence)),
            online: sent.online,
            duplicate: sent.duplicate,
            time: sent.time,
        }))
    }

    async fn join(&self, group: String) -> Result<Answer, Failure> {
        metrics::command("join");
        id::check("group", &group)?;
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

    fn member_command(&self, group: &str) -> herald_proto::cluster::MemberCommand {
        let origin = dedup::Origin::Command {
            connection: &self.conn.id,
            serial: self.serial,
        };
        herald_proto::cluster::MemberCommand {
            sender: Some(Sender {
                user: Some(self.user.clone()),
                broadcast: false,
            }),
            user: self.user.clone(),
            group: group.to_owned(),
            dedup: dedup::id(origin, &herald_proto::Target::group(group)),
        }
    }

    /// What the router has answered holds on this node before the client hears of it.
    async fn follow(&self, group: &str, sequence: u64, joined: bool) -> Result<(), Failure> {
        let change = Change {
            user: self.user.as_str().into(),
            group: group.into(),
            sequence,
            joined,
        };
        Ok(self.gateway.hub.apply(&change).await?)
    }
}
