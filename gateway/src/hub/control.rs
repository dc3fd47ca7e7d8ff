//! Control messages: orders to the gateways in a user's own log, in order with all else that the user gets.

use std::sync::Arc;

use herald_proto::{
    CloseCode,
    cluster::{Control, EndSession, Replace, control::Order},
};

use super::{Hub, fanout, topic::TopicState};
use crate::{conn::Conn, event::Push};

impl Hub {
    /// Done once, as the order is delivered.
    pub(super) fn obey(&self, user: &str, state: &mut TopicState, control: &Control, sequence: u64) {
        match &control.order {
            Some(Order::Group(change)) => self.order(user, change, sequence, state.members()),
            // Those too that have much to catch up with before they come to it.
            Some(Order::Kick(_)) => kick(state.members(), sequence),
            Some(Order::Replace(order)) => replace(state, order),
            Some(Order::EndSession(order)) => end_session(state.members(), order),
            None => {} // a newer router's order, which this version does not know
        }
    }

    /// Done for each connection that comes to the order, be it live or while it catches up.
    pub(super) fn tell_of(&self, to: &[Arc<Conn>], control: Control, sequence: u64) {
        match control.order {
            Some(Order::Group(change)) => {
                let push = Push::Group {
                    group: change.group,
                    joined: change.joined,
                };
                fanout::push_to(to, &push, true, &self.metrics);
            }
            Some(Order::Kick(_)) => kick(to, sequence),
            // Of one connection alone, which is here already if it is anywhere; and no token of an ended session connects.
            Some(Order::Replace(_) | Order::EndSession(_)) | None => {}
        }
    }
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

/// Who has connected since, with a token that was good then, stays.
fn kick(conns: &[Arc<Conn>], sequence: u64) {
    for conn in conns.iter().filter(|conn| conn.progress.was_before(sequence)) {
        conn.close(CloseCode::Kicked);
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
