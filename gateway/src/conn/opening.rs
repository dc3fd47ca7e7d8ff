//! How a connection begins, once its upgrade has come about.
//!
//! The 101 is still to be written then (see [`Held`]): where the client is known by its upgrade, the welcome goes with it in
//! one system call.

use std::{
    net::IpAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use herald_proto::CloseCode;
use herald_router::http::Held;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;

use super::{Conn, conversation::Conversation, early::Early, reader::Reader, socket::Socket, writer};
use crate::{
    addresses::Room,
    auth::Identity,
    dialect::Dialect,
    event::{ConnectOptions, Ending, Tag},
    gateway::Gateway,
};

/// The 101 waits this long for the welcome. A cluster that takes longer to welcome somebody must not look like a server that
/// is not there.
const TOGETHER: Duration = Duration::from_millis(200);
/// How long a client may take to receive the 101: it is small, and mostly the first that is sent at all.
const SHAKEN: Duration = Duration::from_secs(10);

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
    /// The dialect wants a first frame all the same, which may do without one.
    Shown(Box<Identity>),
    /// Said only now: browsers cannot read the status of a refused upgrade.
    Bad,
}

/// Begins a connection: whatever is needed only once happens here, so that the task that stays is small.
pub async fn start(gateway: &Arc<Gateway>, upgraded: Upgraded, opening: Opening, client: IpAddr, room: Room) {
    let Some(Bare { socket, ahead, answer }) = Bare::of(upgraded) else {
        return;
    };
    let (conn, open) = gateway.open(opening.dialect, gateway.socket(None), client);
    let mut reader = Reader::new(gateway, &conn, &ahead, open, room);
    drop(ahead);
    if let Token::Good(identity) = opening.token {
        let conversation = &mut reader.conversation;
        welcome(conversation, socket, answer, &identity, &opening.options).await;
    } else {
        shake(&conn, socket, answer).await;
        match opening.token {
            Token::Bad => conn.close(CloseCode::Unauthorized),
            Token::Shown(identity) => reader.conversation.shown(identity),
            Token::None | Token::Good(_) => {}
        }
    }
    tokio::spawn(reader.run());
}

async fn welcome(
    conversation: &mut Conversation,
    socket: Socket,
    answer: Bytes,
    identity: &Identity,
    options: &ConnectOptions,
) {
    let (gateway, conn) = (conversation.gateway().clone(), conversation.conn.clone());
    let _waits = conn.reader_waits();
    let mut preparing = pin!(gateway.prepare(&conn, &Tag::None, identity, options));
    let mut waiting = Some((socket, answer));
    let outcome = match timeout(TOGETHER, preparing.as_mut()).await {
        Ok(outcome) => outcome,
        Err(_late) => {
            if let Some((socket, answer)) = waiting.take() {
                shake(&conn, socket, answer).await;
            }
            preparing.await
        }
    };
    match outcome {
        Ok(admitted) => {
            gateway.welcome(&conn, admitted);
            conversation.begin(identity);
        }
        Err(refused) => conversation.refuse(&Tag::None, refused),
    }
    if let Some((socket, answer)) = waiting {
        conn.outbox.open(answer);
        conn.attach(socket);
    }
}

/// The 101 goes alone; all else comes after it.
async fn shake(conn: &Arc<Conn>, socket: Socket, answer: Bytes) {
    if !answer.is_empty() {
        let written = timeout(SHAKEN, writer::write_all(&socket, &mut answer.into())).await;
        if !matches!(written, Ok(Ok(()))) {
            conn.end(Ending::Peer(None));
        }
    }
    conn.attach(socket);
}

/// Begins the connection of a client who was admitted before its upgrade.
pub(super) fn start_admitted(upgraded: Upgraded, early: Early) {
    if let Some(bare) = Bare::of(upgraded) {
        early.welcome(bare);
    }
}

/// What hyper keeps around a connection is of no use any more: only the socket stays, what was read ahead, and what is to be
/// written first.
pub(super) struct Bare {
    pub socket: Socket,
    pub ahead: Bytes,
    /// The 101.
    pub answer: Bytes,
}

impl Bare {
    fn of(upgraded: Upgraded) -> Option<Self> {
        let bare = match upgraded.downcast::<TokioIo<Held<TcpStream>>>() {
            Ok(plain) => Some(Self::new(plain.io.into_inner(), plain.read_buf)),
            Err(upgraded) => {
                let tls = upgraded.downcast::<TokioIo<Held<TlsStream<TcpStream>>>>();
                tls.ok().map(|tls| Self::new(tls.io.into_inner(), tls.read_buf))
            }
        };
        let Some(bare) = bare else {
            tracing::error!("an upgraded connection is no stream of this gateway");
            return None;
        };
        let tcp = bare.socket.tcp();
        // The socket remembers the task that last waited for it, hyper's, and would keep its memory: let it forget.
        let mut nobody = Context::from_waker(Waker::noop());
        let _readiness = (tcp.poll_read_ready(&mut nobody), tcp.poll_write_ready(&mut nobody));
        Some(bare)
    }

    fn new<S>(held: Held<S>, ahead: Bytes) -> Self
    where
        Socket: From<S>,
    {
        let (stream, answer) = held.into_parts();
        Self {
            socket: stream.into(),
            ahead,
            answer,
        }
    }
}
