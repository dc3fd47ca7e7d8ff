//! Pure: who listens to what, what is to be said to the server, and who waits for its word that it has heard.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::{BufMut, BytesMut};
use tokio::sync::oneshot;

use crate::bus::LiveCopy;

pub(super) type Deliver = dyn Fn(LiveCopy) + Send + Sync;

/// Pings that may be unanswered; the next one is not sent, for the server is gone.
const UNANSWERED: usize = 2;

#[derive(Default)]
pub(super) struct Table {
    listeners: HashMap<u64, Listener>,
    /// Never used twice, so that what is still under way for one that has gone comes to nobody.
    last: u64,
    /// To be written; only while there is a connection.
    out: BytesMut,
    up: bool,
    /// Pings under way, each with those who wait for what was said before it.
    pings: VecDeque<Vec<oneshot::Sender<()>>>,
    /// A ping is to follow what is in `out`, for these.
    waiting: Vec<oneshot::Sender<()>>,
    /// Keepalives under way.
    unanswered: usize,
}

struct Listener {
    subject: Box<str>,
    deliver: Arc<Deliver>,
}

impl Table {
    /// None: there is no connection. The receiver is told when the server knows of the subscription, and dropped where the
    /// connection is lost before.
    pub fn subscribe(&mut self, subject: Box<str>, deliver: Arc<Deliver>) -> Option<(u64, oneshot::Receiver<()>)> {
        if !self.up {
            return None;
        }
        self.last += 1;
        say_sub(&mut self.out, &subject, self.last);
        self.listeners.insert(self.last, Listener { subject, deliver });
        let (told, known) = oneshot::channel();
        self.waiting.push(told);
        Some((self.last, known))
    }

    pub fn unsubscribe(&mut self, sid: u64) {
        if self.listeners.remove(&sid).is_some() && self.up {
            self.out.put_slice(format!("UNSUB {sid}\r\n").as_bytes());
        }
    }

    pub fn deliver_of(&self, sid: u64) -> Option<Arc<Deliver>> {
        self.listeners.get(&sid).map(|listener| listener.deliver.clone())
    }

    /// A new connection: all subscriptions are made again. The receiver is told when the server knows of them.
    pub fn connected(&mut self) -> oneshot::Receiver<()> {
        self.up = true;
        for (sid, listener) in &self.listeners {
            say_sub(&mut self.out, &listener.subject, *sid);
        }
        let (told, known) = oneshot::channel();
        self.waiting.push(told);
        known
    }

    /// Whoever waits is told so by the end of its channel.
    pub fn lost(&mut self) {
        self.up = false;
        self.out.clear();
        self.pings.clear();
        self.waiting.clear();
        self.unanswered = 0;
    }

    /// What is to be written now; empty where there is nothing.
    pub fn take_out(&mut self) -> BytesMut {
        if !self.waiting.is_empty() {
            self.ping(true);
        }
        self.out.split()
    }

    pub fn pong(&mut self) {
        self.out.put_slice(b"PONG\r\n");
    }

    /// A sign of life is asked for. False where the last ones were not answered.
    pub fn keep_alive(&mut self) -> bool {
        if self.unanswered >= UNANSWERED {
            return false;
        }
        self.unanswered += 1;
        self.ping(false);
        true
    }

    fn ping(&mut self, for_waiting: bool) {
        self.out.put_slice(b"PING\r\n");
        let told = if for_waiting {
            std::mem::take(&mut self.waiting)
        } else {
            Vec::new()
        };
        self.pings.push_back(told);
    }

    /// The server has heard all that was said before its oldest unanswered ping.
    pub fn ponged(&mut self) {
        self.unanswered = 0;
        for told in self.pings.pop_front().into_iter().flatten() {
            // Who has given up does not wait any more.
            let _heard = told.send(());
        }
    }
}

fn say_sub(out: &mut BytesMut, subject: &str, sid: u64) {
    out.put_slice(format!("SUB {subject} {sid}\r\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Arc<Deliver> {
        Arc::new(|_| {})
    }

    fn said(table: &mut Table) -> String {
        String::from_utf8(table.take_out().to_vec()).unwrap()
    }

    fn up() -> Table {
        let mut table = Table::default();
        drop(table.connected());
        assert_eq!(said(&mut table), "PING\r\n");
        table.ponged();
        table
    }

    #[test]
    fn one_ping_tells_all_who_subscribed_before_it() {
        let mut table = up();
        let (first, mut one) = table.subscribe("a".into(), nobody()).unwrap();
        let (_, mut two) = table.subscribe("b".into(), nobody()).unwrap();
        assert_eq!(said(&mut table), "SUB a 1\r\nSUB b 2\r\nPING\r\n");
        let (_, mut late) = table.subscribe("c".into(), nobody()).unwrap();
        assert!(table.keep_alive());
        assert_eq!(said(&mut table), "SUB c 3\r\nPING\r\nPING\r\n");
        table.ponged();
        assert!(one.try_recv().is_ok() && two.try_recv().is_ok());
        // The keepalive's answer is not the one that it waits for.
        table.ponged();
        assert!(late.try_recv().is_err());
        table.ponged();
        assert!(late.try_recv().is_ok());
        table.unsubscribe(first);
        assert!(table.deliver_of(first).is_none());
        assert_eq!(said(&mut table), "UNSUB 1\r\n");
    }

    #[test]
    fn a_new_connection_has_all_subscriptions_and_nothing_of_the_old_one() {
        let mut table = up();
        let (gone, _) = table.subscribe("a".into(), nobody()).unwrap();
        let (_, mut waits) = table.subscribe("b".into(), nobody()).unwrap();
        table.lost();
        assert_eq!(waits.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(table.subscribe("c".into(), nobody()).is_none());
        table.unsubscribe(gone);
        let mut known = table.connected();
        assert_eq!(said(&mut table), "SUB b 2\r\nPING\r\n");
        assert!(known.try_recv().is_err());
        table.ponged();
        assert!(known.try_recv().is_ok());
    }

    #[test]
    fn two_pings_without_an_answer_are_the_end() {
        let mut table = up();
        assert!(table.keep_alive() && table.keep_alive());
        assert!(!table.keep_alive());
        table.ponged();
        assert!(table.keep_alive());
    }
}
