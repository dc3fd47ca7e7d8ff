//! Control messages: orders to the gateways in a user's own log, in order with all else that the user gets.

use std::sync::Arc;

use herald_proto::{
    CloseCode, Target,
    cluster::{Control, EndSession, GroupChange, Kick, Replace, StoredControl, control::Order},
};
use herald_router::bus::LogEntry;
use prost::Message;

use super::{Hub, fanout, topic::TopicState};
use crate::{conn::Conn, event::Push};

impl Hub {
    /// Done once, as the order is delivered.
    pub(super) fn obey(&self, user: &str, state: &mut TopicState, control: &Control, sequence: u64) {
        match &control.order {
            Some(Order::Group(change)) => self.order(user, change, sequence, state.members()),
            // Those too that have much to catch up with before they come to it.
            Some(Order::Kick(order)) => kick(state.members(), order, sequence),
            Some(Order::Replace(order)) => replace(state, order),
            Some(Order::EndSession(order)) => end_session(state.members(), order),
            Some(Order::GroupDeleted(_) | Order::Purged(_)) => {} // not about a user
            None => {} // a newer router's order, which this version does not know
        }
    }

    /// A group was deleted: those of its members here who have come to that are members no more, from this place in its
    /// order on. Who has joined since is still to come to its own place, which is behind this one.
    pub(super) fn end_group(&self, group: &str, state: &mut TopicState, come: &[Arc<Conn>], sequence: u64) {
        let change = GroupChange {
            group: group.to_owned(),
            joined: false,
        };
        for conn in come {
            if let Some(member) = conn.member() {
                self.order(&member.user, &change, sequence, std::slice::from_ref(conn));
            }
            state.remove(conn);
        }
    }

    /// Done for each connection that comes to the order, be it live or while it catches up.
    pub(super) fn tell_of(&self, target: &Target, to: &[Arc<Conn>], control: Control, sequence: u64) {
        match control.order {
            Some(Order::Group(change)) => {
                let push = Push::Group {
                    group: change.group,
                    joined: change.joined,
                };
                fanout::push_to(to, &push, true, &self.metrics);
            }
            Some(Order::Kick(order)) => kick(to, &order, sequence),
            Some(Order::GroupDeleted(_)) => {
                if let Target::Group(group) = target {
                    let group = group.to_string();
                    let push = Push::Group { group, joined: false };
                    fanout::push_to(to, &push, true, &self.metrics);
                }
            }
            // Who lacks what was deleted is closed where that is found out.
            Some(Order::Purged(_)) => {}
            // Of one connection alone, which is here already if it is anywhere; and no token of an ended session connects.
            Some(Order::Replace(_) | Order::EndSession(_)) | None => {}
        }
    }
}

pub(super) fn ends_group(control: &Control) -> bool {
    matches!(control.order, Some(Order::GroupDeleted(_)))
}

/// Up to where the application deleted what a target had, if that stands among these. Whoever had not come so far lacks it
/// for good.
pub(super) fn purged_upto(entries: &[LogEntry]) -> u64 {
    let orders = entries.iter().filter_map(|entry| {
        let stored = StoredControl::decode(entry.payload.as_ref()).ok()?;
        stored.control?.order
    });
    let upto = orders.map(|order| match order {
        Order::Purged(purged) => purged.upto,
        _ => 0,
    });
    upto.max().unwrap_or(0)
}

/// Two that came at the same moment may each want the other to make way: the order of the log decides.
fn replace(state: &mut TopicState, order: &Replace) {
    if !state.replaced.insert(&order.by, &order.connection) {
        return;
    }
    let conns = state.members().iter();
    for conn in conns.filter(|conn| *conn.id == *order.connection) {
        conn.close(CloseCode::Replaced);
    }
}

/// Who has connected since, with a token that was good then, stays: since the order was stored, or, where a router has
/// stored it late, since the kick was asked for.
fn kick(conns: &[Arc<Conn>], order: &Kick, sequence: u64) {
    let began_later = |conn: &Conn| order.upto > 0 && conn.member().is_some_and(|member| member.since > order.upto);
    for conn in conns.iter().filter(|conn| conn.progress.was_before(sequence)) {
        if !began_later(conn) {
            conn.close(CloseCode::Kicked);
        }
    }
}

fn end_session(conns: &[Arc<Conn>], order: &EndSession) {
    let code = match order.kicked {
        true => CloseCode::Kicked,
        false => CloseCode::Unauthorized,
    };
    for conn in conns.iter().filter(|conn| conn.is_of_session(&order.session)) {
        conn.close(code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        conn::{Member, sink::Sink},
        dialect::Dialect,
    };

    fn conn(since: u64, newest: u64) -> Arc<Conn> {
        let id = format!("c{since}");
        let conn = Conn::new(id, Dialect::Json, 1 << 16, Sink::answer(true), [127, 0, 0, 1].into());
        conn.set_member(Member {
            user: "bob".into(),
            device: None,
            since,
            session: None,
        });
        conn.progress.connected(newest);
        conn
    }

    #[test]
    fn an_order_that_was_stored_late_ends_what_began_before_it_was_asked_for() {
        for (since, newest, upto, stays) in [
            (5_000, 40, 5_000, false),
            (5_001, 40, 5_000, true),
            (5_001, 40, 0, false), // by a router that does not tell
            (1_000, 41, 5_000, true),
        ] {
            let conn = conn(since, newest);
            kick(std::slice::from_ref(&conn), &Kick { upto }, 41);
            assert_eq!(conn.outbox.is_open(), stays, "{since}, {newest}, {upto}");
        }
    }
}
