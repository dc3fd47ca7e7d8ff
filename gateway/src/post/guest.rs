//! A connection that lasts as long as its HTTP answer.

use std::{net::IpAddr, sync::Arc};

use tokio::time::sleep;

use crate::{
    addresses::Room,
    auth::Identity,
    conn::{Conn, sink::Sink},
    dialect::Dialect,
    event::{ConnectOptions, Ending, Tag},
    gateway::{Gateway, OpenGuard, Refused},
    hub::{Entered, Start},
    metrics,
    presence::{self, AWAY},
};

/// Ends the connection when dropped, by whatever: the client's going away, the end of its answer.
pub struct Guest {
    gateway: Arc<Gateway>,
    pub conn: Arc<Conn>,
    /// It ends because it has been given an answer.
    answered: bool,
    _open: OpenGuard,
    _room: Room,
}

impl Guest {
    /// `counts`: as one of its user's connections.
    pub fn new(gateway: &Arc<Gateway>, dialect: Dialect, counts: bool, client: IpAddr, room: Room) -> Self {
        let (conn, open) = gateway.open(dialect, Sink::answer(counts), client);
        Self {
            gateway: gateway.clone(),
            conn,
            answered: false,
            _open: open,
            _room: room,
        }
    }

    /// As [`Gateway::connect`].
    pub async fn connect(&mut self, identity: &Identity, options: &ConnectOptions) -> Result<(), Refused> {
        let connected = self.gateway.connect(&self.conn, &Tag::None, identity, options).await;
        self.known(connected)
    }

    /// As [`Gateway::begin`].
    pub async fn begin(
        &mut self,
        identity: &Identity,
        start: &Start,
        device: Option<&str>,
    ) -> Result<Entered, Refused> {
        let begun = self.gateway.begin(&self.conn, identity, start, device).await;
        self.known(begun)
    }

    fn known<T>(&self, outcome: Result<T, Refused>) -> Result<T, Refused> {
        if let Err(refused) = &outcome {
            self.conn.close(refused.code);
        }
        outcome
    }

    /// Ends it with its answer. The client is expected back, here or elsewhere: only if it does not come it has gone.
    pub fn answered(mut self) {
        self.answered = true;
        self.conn.end(Ending::Peer(None));
        // Before it is detached, so that it is never nowhere.
        if let (Some(poll), Some(member)) = (presence::info(&self.conn), self.conn.member()) {
            self.gateway.away.answered(member.user, poll);
        }
        let Some(user) = self.gateway.detach(&self.conn) else {
            return;
        };
        let gateway = self.gateway.clone();
        self.gateway.tasks.spawn(async move {
            let waited = gateway.stop.run_until_cancelled(sleep(AWAY)).await;
            if waited.is_none() {
                gateway.away.forget(&user);
            } else if !gateway.away.is_over(&user) {
                return;
            }
            gateway.presence.touch(&user);
        });
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.conn.end(Ending::Peer(None));
        metrics::closed(match self.conn.outbox.ending() {
            Some(Ending::Code(code)) => Some(code),
            Some(Ending::Peer(_)) | None => None,
        });
        self.gateway.disconnect(&self.conn);
    }
}
