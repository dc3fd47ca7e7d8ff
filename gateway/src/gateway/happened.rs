//! What the application is told of connections. A poll is none: it comes and goes with each answer.

use std::sync::Arc;

use herald_router::events::{Event, Kind};
use serde_json::{Value, json};

use super::Gateway;
use crate::{
    conn::{Conn, Member},
    dialect::Dialect,
    event::Ending,
};

impl Gateway {
    pub(super) fn tell_connected(&self, conn: &Arc<Conn>) {
        self.tell(Kind::Connected, conn, |_| Value::Null);
    }

    pub(super) fn tell_disconnected(&self, conn: &Arc<Conn>) {
        self.tell(Kind::Disconnected, conn, |member| {
            let (code, reason) = match conn.outbox.ending() {
                Some(Ending::Code(code)) => (Some(code.code()), code.reason()),
                Some(Ending::Peer(Some(code))) => (Some(code), "closed by the client"),
                Some(Ending::Peer(None)) | None => (None, "gone"),
            };
            json!({ "code": code, "reason": reason, "connected": member.since })
        });
    }

    fn tell(&self, kind: Kind, conn: &Arc<Conn>, more: impl FnOnce(&Member) -> Value) {
        if conn.dialect == Dialect::Poll || !self.events.wants(kind) {
            return;
        }
        let Some(member) = conn.member() else { return };
        self.events.emit(kind, || {
            let mut all = json!({
                "connection": conn.id,
                "address": conn.address.to_string(),
                "dialect": conn.dialect.name(),
            });
            if let Some(device) = &member.device {
                all["device"] = device.to_string().into();
            }
            if let Some(session) = &member.session {
                all["session"] = session.to_string().into();
            }
            if let (Value::Object(all), Value::Object(more)) = (&mut all, more(&member)) {
                all.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
            }
            Event::new(kind, &*member.user, all)
        });
    }
}
