//! What a client that knows no cursors has proven to have received.
//!
//! Behind all that a cursor covers it is sent a ping of its own. The pong, which carries the same number, comes only from
//! one who has read everything before.

use std::collections::VecDeque;

use bytes::Bytes;
use herald_proto::offset::Cursor;
use parking_lot::Mutex;

use crate::dialect::ws;

/// Pings that may wait for their pongs; more would only say the same. At one each 5 s a client is ended as silent long
/// before.
const UNANSWERED: usize = 8;

#[derive(Default)]
pub struct Proof(Mutex<State>);

#[derive(Default)]
struct State {
    serial: u64,
    asked: VecDeque<(u64, Cursor)>,
}

impl Proof {
    /// Sends the ping by `push`, which tells whether it was put in. False where it was not.
    pub fn ask(&self, cursor: &Cursor, push: impl FnOnce(Bytes) -> bool) -> bool {
        let mut state = self.0.lock();
        if state.asked.len() >= UNANSWERED {
            return false;
        }
        state.serial += 1;
        let serial = state.serial;
        let asked = push(ws::ping(&serial.to_be_bytes()));
        if asked {
            state.asked.push_back((serial, cursor.clone()));
        }
        asked
    }

    /// What the pong with this payload proves. One for a newer ping stands for those before too.
    pub fn proven(&self, payload: &[u8]) -> Option<Cursor> {
        let serial = u64::from_be_bytes(payload.try_into().ok()?);
        let mut state = self.0.lock();
        let at = state.asked.iter().position(|(asked, _)| *asked == serial)?;
        state.asked.drain(..=at).next_back().map(|(_, cursor)| cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequence: u64) -> Cursor {
        format!("5f3a@0:{sequence}").parse().unwrap()
    }

    #[test]
    fn only_the_pong_to_a_ping_proves() {
        let proof = Proof::default();
        let mut sent = Vec::new();
        for sequence in 1..=3 {
            assert!(proof.ask(&cursor(sequence), |frame| {
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
        assert!(!proof.ask(&cursor(4), |_| false), "no room for the ping");
    }

    #[test]
    fn who_does_not_answer_is_not_asked_for_ever() {
        let proof = Proof::default();
        let asked = (0..100).filter(|sequence| proof.ask(&cursor(*sequence), |_| true));
        assert_eq!(asked.count(), UNANSWERED);
    }
}
