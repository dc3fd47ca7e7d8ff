//! What is done with a connection's frames: the session decides, this carries it out.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use herald_proto::{CloseCode, ErrorCode};
use herald_router::failure::Failure;

use super::{Conn, command::Job, lanes::Lanes, query::Query, receive::Received};
use crate::{
    auth::Identity,
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
            Action::Beside { id, command } => self.beside(id, command).await,
        }
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

    fn refresh(&mut self, id: Option<u32>, token: &str) {
        metrics::command("refresh");
        let verified = self.gateway.identify(token);
        let answer = match verified {
            Ok(identity) if self.session.user() == Some(&identity.user) => {
                self.session.refreshed(&identity);
                self.gateway.set_token(&self.conn, &identity);
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
        let lanes = lanes(&mut self.lanes, &self.gateway);
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

    async fn beside(&mut self, id: Option<u32>, command: Beside) {
        let Some(user) = self.session.user().map(str::to_owned) else {
            return; // nor asks anything
        };
        let lanes = lanes(&mut self.lanes, &self.gateway);
        let query = Query {
            gateway: self.gateway.clone(),
            conn: self.conn.clone(),
            user,
            large: lanes.large(),
        };
        let waits = self.conn.reader_waits();
        match command {
            Beside::Watch { .. } | Beside::Unwatch { .. } => lanes.watching(query.run(id, command)).await,
            Beside::History(_) | Beside::Presence(_) => lanes.beside(query.run(id, command)).await,
        }
        drop(waits);
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
