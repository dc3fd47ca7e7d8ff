//! A client that is admitted before its upgrade.
//!
//! Its upgrade says who it is, and its protocol has no other sign that it is let in: once the client has the 101, nothing
//! that is stored from then on may pass it by. So it is made a member first, and what comes waits for the socket. Who
//! cannot be admitted is told so by an HTTP status.

use std::{net::IpAddr, sync::Arc};

use herald_proto::{CloseCode, ErrorCode};
use herald_router::failure::Failure;
use hyper::upgrade::Upgraded;

use super::{
    Conn,
    opening::{self, Bare},
    reader::Reader,
};
use crate::{
    addresses::Room,
    auth::Identity,
    dialect::Dialect,
    event::{ConnectOptions, Ending, Tag},
    gateway::{Admitted, Gateway, OpenGuard, Refused},
    metrics,
};

/// Its connection ends when this is dropped before the upgrade has come about: the client has gone.
pub struct Early {
    gateway: Arc<Gateway>,
    conn: Arc<Conn>,
    identity: Box<Identity>,
    admitted: Option<Admitted>,
    /// None: they are the reader's.
    held: Option<(OpenGuard, Room)>,
}

impl Early {
    pub async fn admit(
        gateway: &Arc<Gateway>,
        dialect: Dialect,
        identity: Box<Identity>,
        client: IpAddr,
        room: Room,
    ) -> Result<Self, Refused> {
        let (conn, open) = gateway.open(dialect, gateway.socket(None), client);
        let mut early = Self {
            gateway: gateway.clone(),
            conn,
            identity,
            admitted: None,
            held: Some((open, room)),
        };
        let options = ConnectOptions::default();
        let admitted = gateway.prepare(&early.conn, &Tag::None, &early.identity, &options);
        match admitted.await {
            Ok(admitted) => early.admitted = Some(admitted),
            Err(refused) => {
                early.conn.close(refused.code);
                return Err(refused);
            }
        }
        match early.conn.outbox.ending() {
            None => Ok(early),
            // It was kicked, or the node began to drain, while the client waited.
            Some(ending) => Err(refusal(ending)),
        }
    }

    pub fn start(self, upgraded: Upgraded) {
        opening::start_admitted(upgraded, self);
    }

    pub(super) fn welcome(mut self, bare: Bare) {
        let (Some(admitted), Some((open, room))) = (self.admitted.take(), self.held.take()) else {
            return; // both are there until here
        };
        let mut reader = Reader::new(&self.gateway, &self.conn, &bare.ahead, open, room);
        reader.conversation.begin(&self.identity);
        self.gateway.welcome(&self.conn, admitted);
        self.conn.outbox.open(bare.answer);
        self.conn.attach(bare.socket);
        tokio::spawn(reader.run());
    }
}

fn refusal(ending: Ending) -> Refused {
    let code = match ending {
        Ending::Code(code) => code,
        Ending::Peer(_) => CloseCode::Unavailable,
    };
    let failure = match code {
        CloseCode::Kicked | CloseCode::TokenExpired | CloseCode::Unauthorized => ErrorCode::Unauthorized,
        _ => ErrorCode::Unavailable,
    };
    Refused {
        failure: Failure::new(failure, code.reason()),
        code,
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        if self.held.is_none() {
            return;
        }
        self.conn.end(Ending::Peer(None));
        metrics::closed(match self.conn.outbox.ending() {
            Some(Ending::Code(code)) => Some(code),
            Some(Ending::Peer(_)) | None => None,
        });
        // Nothing will ever be written.
        self.conn.outbox.end();
        self.gateway.disconnect(&self.conn);
    }
}
