//! One poll's turn: what it is given, and the cursor that says so.
//!
//! What was missed comes in the log's one order, so that a single place says how far the client has come. What comes live
//! while it waits is ahead of what is known to be complete: the cursor names each, and the next turn, on whatever node,
//! moves the place past them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::{CloseCode, offset::Cursor};
use tokio::time::{sleep, timeout};

use crate::{
    conn::pull::{Pull, Pulled},
    dialect::{
        json,
        poll::{self, Item},
    },
    event::Ending,
    hub::{Entered, Hub, Start},
};

/// Messages in one answer.
const MESSAGES: usize = 1_000;
/// Bytes of messages in one answer; one message passes alone, however large.
const BYTES: usize = 512 << 10;

/// Before a client comes again that can be given nothing more until the place of its cursor moves: it would only ask the
/// same replica that lags.
const PAUSE: Duration = Duration::from_millis(250);

/// What a poll is answered with.
pub struct Turn {
    pub messages: Vec<Bytes>,
    pub cursor: Cursor,
    pub gap: bool,
    /// The connection was ended by this.
    pub ending: Option<CloseCode>,
}

/// `entered` has not been followed, and the outbox not been released.
pub async fn take(hub: &Arc<Hub>, pull: &mut Pull, start: &Start, mut entered: Entered, wait: Duration) -> Turn {
    let mut account = Account::begin(start, &entered);
    account.give_missed(hub, &entered);
    if account.has_nothing_to_say() && !wait.is_zero() {
        entered.go_on_from(account.turn.cursor.sequence);
        // In place of a welcome: the poll says nothing before it has something.
        pull.conn().release(Some(Bytes::new()));
        hub.follow(pull.conn(), entered);
        // Nothing is lost by an end in between: what is taken is noted at once.
        let _in_time = timeout(wait, account.wait(pull)).await;
    }
    if account.lost {
        account.turn.gap = true;
        if let Some(cursor) = hub.anew(pull.conn()) {
            account.turn.cursor = cursor;
        }
    }
    account.turn
}

struct Account {
    turn: Turn,
    bytes: usize,
    /// The log is no longer what it was.
    lost: bool,
}

impl Account {
    fn begin(start: &Start, entered: &Entered) -> Self {
        let mut cursor = entered.cursor.clone();
        match start {
            Start::Cursor(given) if entered.resumed => {
                cursor = given.clone();
                // Beyond that only what is gone for good, or what is another's.
                cursor.advance(entered.cursor.sequence);
            }
            // Of the inbox nothing has been given yet.
            Start::Beginning => cursor.sequence = 0,
            Start::Cursor(_) | Start::Now => {}
        }
        Self {
            turn: Turn {
                messages: Vec::new(),
                cursor,
                gap: entered.gap,
                ending: None,
            },
            bytes: 0,
            lost: false,
        }
    }

    fn has_nothing_to_say(&self) -> bool {
        self.turn.messages.is_empty() && !self.turn.gap && !self.lost && self.turn.ending.is_none()
    }

    /// False where no more fits.
    fn put(&mut self, message: Bytes) -> bool {
        let messages = &mut self.turn.messages;
        let fits = messages.len() < MESSAGES && self.bytes + message.len() <= BYTES;
        if !fits && !messages.is_empty() {
            return false;
        }
        self.bytes += message.len();
        messages.push(message);
        true
    }

    fn give_missed(&mut self, hub: &Hub, entered: &Entered) {
        let missed = hub.missed(entered);
        for (target, entry) in &missed.entries {
            if self.turn.cursor.covers(entry.sequence) {
                continue;
            }
            if let Some(message) = hub.message(&self.turn.cursor.log, target, entry) {
                let mut text = Vec::new();
                json::message(&mut text, &message);
                if !self.put(text.into()) {
                    return self.turn.cursor.advance(entry.sequence - 1);
                }
            }
        }
        self.turn.cursor.advance(missed.upto);
    }

    /// Until there is something.
    async fn wait(&mut self, pull: &mut Pull) {
        while self.has_nothing_to_say() {
            let mut pulled = Some(pull.next().await);
            while let Some(next) = pulled {
                if !self.take(next) {
                    return self.pause().await;
                }
                pulled = pull.try_next();
            }
        }
    }

    async fn pause(&self) {
        if self.has_nothing_to_say() {
            sleep(PAUSE).await;
        }
    }

    /// False where nothing that comes after this may be taken: cursors take it for granted that all before them was.
    fn take(&mut self, pulled: Pulled) -> bool {
        let frame = match pulled {
            Pulled::Frame(frame) => frame,
            Pulled::End(Ending::Code(code)) => {
                self.turn.ending = Some(code);
                return false;
            }
            Pulled::End(Ending::Peer(_)) => return false,
        };
        match poll::item(frame) {
            Some(Item::Message { sequence, json }) => self.take_message(sequence, json),
            Some(Item::Cursor(text)) => {
                let cursor = std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| text.parse::<Cursor>().ok());
                if let Some(cursor) = cursor.filter(|cursor| cursor.log == self.turn.cursor.log) {
                    self.turn.cursor.advance(cursor.sequence);
                }
                true
            }
            Some(Item::Lost) => {
                self.lost = true;
                false
            }
            None => true,
        }
    }

    fn take_message(&mut self, sequence: Option<u64>, json: Bytes) -> bool {
        let Some(sequence) = sequence else {
            return self.put(json);
        };
        if self.turn.cursor.covers(sequence) {
            return true;
        }
        // One that cannot be noted must not be given.
        !self.turn.cursor.is_full() && self.put(json) && self.turn.cursor.give(sequence)
    }
}

#[cfg(test)]
mod tests;
