//! What is done with a connection's frames: the session decides, this carries it out.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use herald_proto::{CloseCode, ErrorCode};
use herald_router::failure::Failure;

use super::{
    Conn,
    command::Job,
    lanes::Lanes,
    query::{Asking, Query},
    receive::{self, Received},
};
use crate::{
    auth::{AuthError, Identity},
    dialect::ws,
    event::{Answer, ConnectOptions, Ending},
    gateway::Gateway,
    metrics,
    session::{Action, Beside, Ordered, Session},
};

pub(super) struct Conversation {
    pub gateway: Arc<Gateway>,
    pub conn: Arc<Conn>,
    session: Session,
    /// Made with the first command that needs them.
    lanes: Option<Box<Lanes>>,
    welcomed: bool,
}

impl Conversation {
    pub fn new(gateway: Arc<Gateway>, conn: Arc<Conn>) -> Self {
        Self {
            session: Session::new(gateway.command_rate()),
            gateway,
            conn,
            lanes: None,
            welcomed: false,
        }
    }

    pub fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    pub async fn received(&mut self, received: Received) -> Result<(), Ending> {
        self.conn.saw_frame();
        match received {
            Received::Ping(payload) => self.conn.answer_frame(ws::pong(&payload)),
            Received::Pong => {}
            Received::Close(code) => return Err(Ending::Peer(code)),
            Received::Text(payload) => return self.frame(true, payload).await,
            Received::Binary(payload) => return self.frame(false, payload).await,
        }
        Ok(())
    }

    async fn frame(&mut self, text: bool, payload: Bytes) -> Result<(), Ending> {
        let frame = self.conn.dialect.decode(text, payload);
        match self.session.on_frame(frame, Instant::now()) {
            Action::Answer(id, answer) => self.answer(id, &answer),
            Action::Refuse(id, answer, code) => {
                self.answer(id, &answer);
                self.conn.close(code);
            }
            Action::Connect { id, token, options } => self.connect_with(id, &token, &options).await,
            Action::Refresh { id, token } => self.refresh(id, &token).await,
            Action::Ordered { id, serial, command } => self.in_order(id, serial, command).await,
            Action::Beside { id, command } => return self.beside(id, command).await,
        }
        Ok(())
    }

    /// The connection has ended: calls to backends are given up. Ordered commands go on.
    pub fn end(&mut self) {
        self.lanes = None;
    }

    /// Failures are told even to those who asked for no answer.
    fn answer(&self, id: Option<u32>, answer: &Answer) {
        answer_on(&self.conn, id, answer);
    }

    async fn connect_with(&mut self, id: Option<u32>, token: &str, options: &ConnectOptions) {
        match self.gateway.identify(token) {
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

    pub async fn connect(&mut self, id: Option<u32>, identity: &Identity, options: &ConnectOptions) {
        let gateway = self.gateway.clone();
        let waits = self.conn.reader_waits();
        let outcome = gateway.connect(&self.conn, id, identity, options).await;
        drop(waits);
        match outcome {
            Ok(()) => {
                self.welcomed = true;
                self.session.connected(identity);
            }
            Err(refused) => {
                self.answer(id, &refused.failure.into());
                self.conn.close(refused.code);
            }
        }
    }

    async fn refresh(&mut self, id: Option<u32>, token: &str) {
        metrics::command("refresh");
        let waits = self.conn.reader_waits();
        let verified = self.gateway.authenticate(token).await;
        drop(waits);
        let answer = match verified {
            Ok(identity) if self.session.user() == Some(&identity.user) => {
                self.session.refreshed(&identity);
                self.gateway.set_token(&self.conn, &identity);
                Answer::Refreshed {
                    expires: identity.expires,
                }
            }
            Ok(_) => Failure::new(ErrorCode::Unauthorized, "the token is another user's").into(),
            Err(AuthError::Unavailable) => Failure::new(ErrorCode::Unavailable, "sessions cannot be looked up").into(),
            Err(_) => Failure::new(ErrorCode::Unauthorized, "the token is not valid").into(),
        };
        self.answer(id, &answer);
    }

    async fn in_order(&mut self, id: Option<u32>, serial: u64, command: Ordered) {
        let Some(user) = self.session.user().map(str::to_owned) else {
            return; // the session orders nothing before it knows the user
        };
        let lanes = lanes(&mut self.lanes, &self.gateway);
        let (gateway, conn) = (self.gateway.clone(), self.conn.clone());
        let waits = self.conn.reader_waits();
        lanes
            .in_order(async move {
                let job = Job {
                    gateway: &gateway,
                    connection: &conn.id,
                    user: &user,
                    serial,
                };
                let answer = job.run(command).await;
                answer_on(&conn, id, &answer);
            })
            .await;
        drop(waits);
    }

    async fn beside(&mut self, id: Option<u32>, command: Beside) -> Result<(), Ending> {
        let Some(user) = self.session.user().map(str::to_owned) else {
            return Ok(()); // nor asks anything
        };
        let lanes = lanes(&mut self.lanes, &self.gateway);
        let query = Query {
            asking: Asking {
                gateway: self.gateway.clone(),
                user,
            },
            conn: self.conn.clone(),
            large: lanes.large(),
            end: lanes.end(),
        };
        let _waits = self.conn.reader_waits();
        let watches = matches!(command, Beside::Watch { .. } | Beside::Unwatch { .. });
        let placed = async {
            match watches {
                true => lanes.watching(query.run(id, command)).await,
                false => lanes.beside(query.run(id, command)).await,
            }
        };
        // Calls may take minutes, and what waits for their end reads nothing: a client that hangs up must be noticed.
        tokio::select! {
            () = placed => Ok(()),
            () = hung_up(&self.conn) => Err(Ending::Peer(None)),
        }
    }
}

fn lanes<'a>(made: &'a mut Option<Box<Lanes>>, gateway: &Gateway) -> &'a Lanes {
    made.get_or_insert_with(|| Box::new(Lanes::new(gateway.tasks.clone())))
}

pub(super) fn answer_on(conn: &Arc<Conn>, id: Option<u32>, answer: &Answer) {
    if id.is_some() || matches!(answer, Answer::Error(_)) {
        conn.answer(id, answer);
    }
}

async fn hung_up(conn: &Conn) {
    match conn.socket() {
        Some(socket) => receive::hung_up(socket.tcp()).await,
        None => std::future::pending().await,
    }
}
