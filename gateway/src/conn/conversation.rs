//! What is done with a connection's frames: the session decides, this carries it out.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use herald_proto::{CloseCode, ErrorCode};
use herald_router::failure::Failure;

use super::{
    Conn,
    command::InOrder,
    lanes,
    query::{Asking, Query, Queued},
    receive::{self, Received},
};
use crate::{
    auth::{AuthError, Identity},
    dialect::ws,
    event::{Answer, Connect, ConnectOptions, Ending, Tag},
    gateway::{Gateway, OpenGuard, Refused},
    metrics,
    pace::{Asked, Pace, TooFast},
    session::{Action, Beside, Ordered, Session},
};

type Lanes = lanes::Lanes<InOrder, Queued>;

pub(super) struct Conversation {
    open: OpenGuard,
    pub conn: Arc<Conn>,
    session: Session,
    pace: Pace,
    /// Made with the first command that needs them.
    lanes: Option<Box<Lanes>>,
    /// Who the upgrade has shown, where the first frame is to come before it counts.
    shown: Option<Box<Identity>>,
    welcomed: bool,
}

impl Conversation {
    pub fn new(open: OpenGuard, conn: Arc<Conn>) -> Self {
        Self {
            session: Session::new(),
            pace: Pace::default(),
            open,
            conn,
            lanes: None,
            shown: None,
            welcomed: false,
        }
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.open.gateway
    }

    pub fn shown(&mut self, identity: Box<Identity>) {
        self.shown = Some(identity);
    }

    /// The client was admitted with its upgrade, and has been welcomed.
    pub fn begin(&mut self, identity: &Identity) {
        self.welcomed = true;
        self.session.connected(identity);
    }

    pub fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// `bytes`: how many it came in.
    pub async fn received(&mut self, received: Received, bytes: u64) -> Result<(), Ending> {
        self.conn.saw_frame();
        // A part is no command, and a command is told if it comes too fast; of what else comes nothing can be told.
        let commands = u64::from(!matches!(received, Received::Part));
        let pace = self.pace(Asked { commands, bytes });
        if let (Received::Ping(_) | Received::Pong(_) | Received::Part, Err(TooFast { is_flood: true, .. })) =
            (&received, pace)
        {
            return Err(Ending::Code(CloseCode::RateLimited));
        }
        match received {
            Received::Ping(payload) if pace.is_ok() => self.conn.answer_frame(ws::pong(&payload)),
            Received::Ping(_) | Received::Part => {}
            Received::Pong(payload) => self.gateway().proven(&self.conn, &payload),
            Received::Close(code) => return Err(Ending::Peer(code)),
            Received::Text(payload) => return self.frame(true, payload, pace).await,
            Received::Binary(payload) => return self.frame(false, payload, pace).await,
        }
        Ok(())
    }

    fn pace(&mut self, asked: Asked) -> Result<(), TooFast> {
        let callers = &self.open.gateway.callers;
        callers.frame(&mut self.pace, self.session.user(), asked, Instant::now())
    }

    async fn frame(&mut self, text: bool, payload: Bytes, pace: Result<(), TooFast>) -> Result<(), Ending> {
        let frame = self.conn.dialect.decode(self.session.user(), text, payload);
        match self.session.on_frame(frame, pace) {
            Action::Answer(tag, answer) => {
                if matches!(answer, Answer::Echo { .. }) {
                    // What is not read any more stops what is sent: each frame is to come back.
                    self.conn.outbox.room().await;
                }
                self.answer(&tag, &answer);
            }
            Action::Refuse(tag, answer, code) => {
                self.answer(&tag, &answer);
                self.conn.close(code);
            }
            // Boxed where it is rare, so that a message takes little.
            Action::Connect { tag, connect } => Box::pin(self.connect_with(tag, connect)).await,
            Action::Close => return Err(Ending::Code(CloseCode::Normal)),
            Action::Refresh { tag, token } => Box::pin(self.refresh(&tag, &token)).await,
            Action::Ordered { tag, serial, command } => self.in_order(tag, serial, command).await,
            Action::Beside { tag, command } => return Box::pin(self.beside(tag, command)).await,
        }
        Ok(())
    }

    /// The connection has ended: calls to backends are given up. Ordered commands go on.
    pub fn end(&mut self) {
        self.lanes = None;
    }

    /// Failures are told even to those who asked for no answer.
    fn answer(&self, tag: &Tag, answer: &Answer) {
        answer_on(&self.conn, tag, answer);
    }

    async fn connect_with(&mut self, tag: Tag, connect: Connect) {
        match self.who(&connect) {
            Ok(identity) => self.connect(tag, &identity, &connect.options).await,
            Err(error) => {
                metrics::refused("token");
                tracing::debug!(%error, "a token was refused");
                self.answer(
                    &tag,
                    &Failure::new(ErrorCode::Unauthorized, "the token is not valid").into(),
                );
                self.conn.close(CloseCode::Unauthorized);
            }
        }
    }

    /// By the frame's token, or the upgrade's; or who the client says it is, where that is believed.
    fn who(&mut self, connect: &Connect) -> Result<Identity, AuthError> {
        let shown = self.shown.take();
        let identity = match (&connect.user, shown) {
            (_, Some(identity)) if connect.token.is_empty() => *identity,
            (Some(user), None) if connect.token.is_empty() => self.gateway().trust(self.conn.dialect, user)?,
            _ => self.gateway().identify(&connect.token)?,
        };
        // Its login comes back as if it were that user's.
        match &connect.user {
            Some(user) if *user != identity.user => Err(AuthError::AnotherUser),
            _ => Ok(identity),
        }
    }

    pub async fn connect(&mut self, tag: Tag, identity: &Identity, options: &ConnectOptions) {
        let gateway = self.gateway().clone();
        let waits = self.conn.reader_waits();
        let outcome = gateway.connect(&self.conn, &tag, identity, options).await;
        drop(waits);
        match outcome {
            Ok(()) => self.begin(identity),
            Err(refused) => self.refuse(&tag, refused),
        }
    }

    pub fn refuse(&self, tag: &Tag, refused: Refused) {
        self.answer(tag, &refused.failure.into());
        self.conn.close(refused.code);
    }

    async fn refresh(&mut self, tag: &Tag, token: &str) {
        metrics::command("refresh");
        let waits = self.conn.reader_waits();
        let verified = self.gateway().authenticate(token).await;
        drop(waits);
        let answer = match verified {
            Ok(identity) if self.session.user() == Some(&identity.user) => {
                self.session.refreshed(&identity);
                self.gateway().set_token(&self.conn, &identity);
                Answer::Refreshed {
                    expires: identity.expires,
                }
            }
            Ok(_) => Failure::new(ErrorCode::Unauthorized, "the token is another user's").into(),
            Err(AuthError::Unavailable) => Failure::new(ErrorCode::Unavailable, "sessions cannot be looked up").into(),
            Err(_) => Failure::new(ErrorCode::Unauthorized, "the token is not valid").into(),
        };
        self.answer(tag, &answer);
    }

    async fn in_order(&mut self, tag: Tag, serial: u64, command: Ordered) {
        let job = InOrder {
            gateway: self.gateway().clone(),
            conn: self.conn.clone(),
            tag,
            serial,
            command,
        };
        let lanes = lanes(&mut self.lanes, &self.open.gateway);
        let waits = self.conn.reader_waits();
        lanes.in_order(job).await;
        drop(waits);
    }

    async fn beside(&mut self, tag: Tag, command: Beside) -> Result<(), Ending> {
        let Some(user) = self.session.user().map(str::to_owned) else {
            return Ok(()); // nor asks anything
        };
        let lanes = lanes(&mut self.lanes, &self.open.gateway);
        let query = Query {
            asking: Asking {
                gateway: self.open.gateway.clone(),
                user,
            },
            conn: self.conn.clone(),
            large: lanes.large(),
            end: lanes.end(),
        };
        let _waits = self.conn.reader_waits();
        let in_turn = command.is_in_turn();
        let queued = Queued { query, tag, command };
        let placed = async {
            match in_turn {
                true => lanes.in_turn(queued).await,
                false => lanes.beside(queued).await,
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

pub(super) fn answer_on(conn: &Arc<Conn>, tag: &Tag, answer: &Answer) {
    if tag.wants_answer() || matches!(answer, Answer::Error(_)) {
        conn.answer(tag, answer);
    }
}

async fn hung_up(conn: &Conn) {
    match conn.socket() {
        Some(socket) => receive::hung_up(socket.tcp()).await,
        None => std::future::pending().await,
    }
}
