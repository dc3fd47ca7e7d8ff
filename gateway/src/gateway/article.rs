//! What is different for clients of the articles' dialects: who they are, and where they go on.

use std::sync::Arc;

use herald_proto::id;

use super::Gateway;
use crate::{
    auth::{AuthError, Identity},
    conn::Conn,
    cursors::Position,
    dialect::{Dialect, Keeps},
    hub::{Entered, Start},
};

impl Gateway {
    /// Believes a client who it says it is, where the dialect's configuration allows that.
    pub fn trust(&self, dialect: Dialect, user: &str) -> Result<Identity, AuthError> {
        if !self.paths.terms(dialect).trust_url_id {
            return Err(AuthError::NoToken);
        }
        id::check("user", user).map_err(|_| AuthError::NoUser)?;
        Ok(Identity {
            user: user.to_owned(),
            groups: Vec::new(),
            broadcast: self.dev,
            // Shown at this moment: a kick ends those who came before.
            issued: Some(id::now_ms()),
            expires: u64::MAX,
            session: None,
        })
    }

    /// From where on a client without a cursor wants messages.
    pub(super) async fn kept_start(&self, dialect: Dialect, user: &str) -> Result<Start, super::Refused> {
        if dialect.keeps() == Keeps::Nobody {
            return Ok(Start::Now);
        }
        let stored = self.cursors.of(&user.into(), dialect.name()).await?;
        let log = self.bus.log.id().borrow().clone();
        Ok(match stored {
            Some(cursor) if Some(&cursor.log) == log.as_ref() => Start::Cursor(cursor),
            // Of a log that is gone nothing can be given.
            _ if dialect.begins_at_start() => Start::Beginning,
            _ => Start::Now,
        })
    }

    /// One who wants nothing of what was before goes on from here, should it come back.
    pub(super) async fn keep_start(&self, conn: &Conn, user: &str, start: &Start, entered: &Entered) {
        if conn.dialect.keeps() != Keeps::Server {
            return;
        }
        let (user, dialect) = (Arc::from(user), conn.dialect.name());
        let from_start = *start == Start::Beginning;
        conn.begins((!from_start).then(|| entered.cursor.clone()));
        self.cursors.came(&user, dialect);
        if !entered.resumed && !from_start {
            let others = || self.owed(&user, conn.dialect);
            self.cursors.begin(&user, dialect, entered.cursor.clone(), others).await;
        }
    }

    /// A pong has come.
    pub fn proven(&self, conn: &Arc<Conn>, payload: &[u8]) {
        if let Some(cursor) = conn.proven(payload)
            && let Some(member) = conn.member()
        {
            let others = || self.owed(&member.user, conn.dialect);
            self.cursors.note(&member.user, conn.dialect.name(), cursor, others);
        }
    }

    /// A connection that knows no cursors ends: what it has not proved holds the others of its user back.
    pub(super) fn leave_position(&self, conn: &Arc<Conn>, user: &Arc<str>) {
        if conn.dialect.keeps() != Keeps::Server {
            return;
        }
        if let Some(at) = conn.owes() {
            let others = self.hub.local_connections(user);
            let alone = !others
                .iter()
                .any(|other| other.dialect == conn.dialect && !Arc::ptr_eq(other, conn));
            self.cursors.left(user, conn.dialect.name(), at, alone);
        }
        self.cursors.hurry(user, conn.dialect.name());
    }

    /// How far those of a user's connections have come that have something yet to prove.
    fn owed(&self, user: &str, dialect: Dialect) -> Vec<Position> {
        let here = self.hub.local_connections(user);
        let same = here.iter().filter(|conn| conn.dialect == dialect);
        same.filter_map(|conn| conn.owes()).collect()
    }
}
