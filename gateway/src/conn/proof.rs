//! What a client that knows no cursors has proven to have received.
//!
//! Behind all that a cursor covers it is sent a ping of its own. The pong, which carries the same number, comes only from
//! one who has read everything before.

use std::collections::VecDeque;

use bytes::Bytes;
use herald_proto::offset::Cursor;
use parking_lot::Mutex;

use crate::{cursors::Position, dialect::ws};

/// Pings that may wait for their pongs; more would only say the same. At one each 5 s a client is ended as silent long
/// before.
const UNANSWERED: usize = 8;

#[derive(Default)]
pub struct Proof(Mutex<State>);

#[derive(Default)]
struct State {
    serial: u64,
    asked: VecDeque<(u64, Cursor)>,
    /// None: it has not been let in.
    proven: Option<Position>,
    welcomed: bool,
}

impl Proof {
    /// The connection begins with what it needs not prove.
    pub fn begin(&self, at: Position) {
        self.0.lock().proven = Some(at);
    }

    /// From here on what it has yet to prove is known of what it was given.
    pub fn welcomed(&self) {
        self.0.lock().welcomed = true;
    }

    /// How far it has come, where it has something yet to prove; `given` tells of what it has not been asked of.
    pub fn owes(&self, given: impl FnOnce() -> bool) -> Option<Position> {
        let state = self.0.lock();
        let owes = !state.welcomed || !state.asked.is_empty() || given();
        state.proven.clone().filter(|_| owes)
    }

    /// Sends the ping by `push`, which tells whether it was put in, if it is `wanted`. Where it was not, `failed`. All of
    /// it in one, so that at no moment the connection seems to owe nothing.
    pub fn ask(
        &self,
        cursor: &Cursor,
        wanted: impl FnOnce() -> bool,
        push: impl FnOnce(Bytes) -> bool,
        failed: impl FnOnce(),
    ) {
        let mut state = self.0.lock();
        if wanted() && !state.ask(cursor, push) {
            failed();
        }
    }

    /// What the pong with this payload proves. One for a newer ping stands for those before too.
    pub fn proven(&self, payload: &[u8]) -> Option<Cursor> {
        let serial = u64::from_be_bytes(payload.try_into().ok()?);
        let mut state = self.0.lock();
        let at = state.asked.iter().position(|(asked, _)| *asked == serial)?;
        let (_, cursor) = state.asked.drain(..=at).next_back()?;
        state.proven = Some(Some(cursor.clone()));
        Some(cursor)
    }
}

impl State {
    fn ask(&mut self, cursor: &Cursor, push: impl FnOnce(Bytes) -> bool) -> bool {
        if self.asked.len() >= UNANSWERED {
            return false;
        }
        self.serial += 1;
        let asked = push(ws::ping(&self.serial.to_be_bytes()));
        if asked {
            self.asked.push_back((self.serial, cursor.clone()));
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequence: u64) -> Cursor {
        format!("5f3a@0:{sequence}").parse().unwrap()
    }

    fn ask(proof: &Proof, sequence: u64, push: impl FnOnce(Bytes) -> bool) -> bool {
        let mut asked = true;
        proof.ask(&cursor(sequence), || true, push, || asked = false);
        asked
    }

    #[test]
    fn only_the_pong_to_a_ping_proves() {
        let proof = Proof::default();
        let mut sent = Vec::new();
        for sequence in 1..=3 {
            assert!(ask(&proof, sequence, |frame| {
                sent.push(frame.slice(2..));
                true
            }));
        }
        assert_eq!(proof.proven(b""), None);
        assert_eq!(proof.proven(b"12345678"), None);
        assert_eq!(proof.proven(&sent[1]), Some(cursor(2)));
        assert_eq!(proof.proven(&sent[0]), None, "it says no more than the newer one");
        assert_eq!(proof.proven(&sent[2]), Some(cursor(3)));
        assert_eq!(proof.proven(&sent[2]), None);
        assert!(!ask(&proof, 4, |_| false), "no room for the ping");
    }

    #[test]
    fn who_does_not_answer_is_not_asked_for_ever() {
        let proof = Proof::default();
        let asked = (0..100).filter(|sequence| ask(&proof, *sequence, |_| true));
        assert_eq!(asked.count(), UNANSWERED);
    }

    #[test]
    fn who_has_not_answered_owes() {
        let proof = Proof::default();
        let none = || false;
        assert_eq!(proof.owes(none), None, "it was not let in");
        proof.begin(Some(cursor(5)));
        assert_eq!(proof.owes(none), Some(Some(cursor(5))), "it may be behind");
        proof.welcomed();
        assert_eq!(proof.owes(none), None);
        assert_eq!(proof.owes(|| true), Some(Some(cursor(5))), "it was given something");
        let mut sent = Bytes::new();
        ask(&proof, 9, |frame| {
            sent = frame.slice(2..);
            true
        });
        assert_eq!(proof.owes(none), Some(Some(cursor(5))));
        proof.proven(&sent);
        assert_eq!(proof.owes(none), None);
        assert_eq!(proof.owes(|| true), Some(Some(cursor(9))));
    }
}
