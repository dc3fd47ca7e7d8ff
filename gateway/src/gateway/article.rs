//! What is different for clients of the articles' dialects: who they are, and where they go on.

use std::sync::Arc;

use herald_proto::id;

use super::Gateway;
use crate::{
    auth::{AuthError, Identity},
    conn::Conn,
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
        let begins = !entered.resumed && *start != Start::Beginning;
        if conn.dialect.keeps() == Keeps::Server && begins {
            let cursor = entered.cursor.clone();
            self.cursors.begin(&user.into(), conn.dialect.name(), cursor).await;
        }
    }

    /// A pong has come.
    pub fn proven(&self, conn: &Arc<Conn>, payload: &[u8]) {
        if let Some(cursor) = conn.proven(payload)
            && let Some(member) = conn.member()
        {
            self.cursors.note(&member.user, conn.dialect.name(), cursor);
        }
    }
}
