//! Looks after all connections at once: pings them, notices those that are gone, ends those whose token has expired.
//!
//! One task with a wheel, rather than timers in every connection: an idle connection then costs nothing but its place.
//! Native connections are spread evenly over it. Those of the articles have theirs by when they came, as their servers
//! had a timer for each: their first ping comes after one whole interval, for some of their clients answer none.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use herald_proto::CloseCode;
use parking_lot::Mutex;

use crate::{auth::unix_now, clock, conn::Conn};

/// Places of the wheel: pings are spread evenly over the interval.
const SLOTS: usize = 25;
/// How often expired tokens are looked for.
const EXPIRY: Duration = Duration::from_millis(500);

pub struct Keeper {
    slots: Vec<Mutex<Slot>>,
    /// The slot of the next connection, or that which is pinged next.
    next: AtomicUsize,
    spread: bool,
    expiries: Mutex<Expiries>,
    interval: Duration,
    timeout: Duration,
}

#[derive(Default)]
struct Slot {
    conns: Vec<Weak<Conn>>,
    /// The slot's next ping is not for them yet, as it comes too soon.
    fresh: Vec<Weak<Conn>>,
    /// They came before the last ping, which was not for them; they may still be silent.
    waited: Vec<Weak<Conn>>,
    /// When they were last pinged, in ticks of the clock.
    pinged: Option<u32>,
}

#[derive(Default)]
struct Expiries {
    heap: BinaryHeap<Reverse<Expiry>>,
    /// Connections mostly end long before their tokens: at this size they are sorted out.
    prune_at: usize,
}

impl Expiries {
    fn push(&mut self, expiry: Expiry) {
        self.heap.push(Reverse(expiry));
        if self.heap.len() >= self.prune_at.max(1024) {
            self.heap.retain(|Reverse(expiry)| expiry.conn.strong_count() > 0);
            self.prune_at = self.heap.len() * 2;
        }
    }

    /// The next connection whose token has expired; None inside for one that has ended.
    fn pop_due(&mut self, now: u64) -> Option<Option<Arc<Conn>>> {
        self.heap.peek().filter(|Reverse(next)| next.at <= now)?;
        self.heap.pop().map(|Reverse(next)| next.conn.upgrade())
    }
}

struct Expiry {
    at: u64,
    conn: Weak<Conn>,
}

impl PartialEq for Expiry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Expiry {}
impl PartialOrd for Expiry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Expiry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Keeper {
    pub fn new(interval: Duration, timeout: Duration) -> Arc<Self> {
        Self::made(interval, timeout, true)
    }

    /// The first ping comes after one whole interval.
    pub fn patient(interval: Duration, timeout: Duration) -> Arc<Self> {
        Self::made(interval, timeout, false)
    }

    fn made(interval: Duration, timeout: Duration, spread: bool) -> Arc<Self> {
        Arc::new(Self {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            next: AtomicUsize::new(0),
            spread,
            expiries: Mutex::default(),
            interval,
            timeout,
        })
    }

    /// From now on the connection is pinged. It is forgotten by itself when it ends.
    pub fn watch(&self, conn: &Arc<Conn>) {
        let conn = Arc::downgrade(conn);
        if self.spread {
            let slot = self.next.fetch_add(1, Ordering::Relaxed) % SLOTS;
            self.slots[slot].lock().conns.push(conn);
        } else {
            self.slots[self.next.load(Ordering::Relaxed)].lock().fresh.push(conn);
        }
    }

    /// From now on, and after each change of its expiry, the connection ends with its token.
    pub fn expire(&self, conn: &Arc<Conn>) {
        self.expiries.lock().push(Expiry {
            at: conn.expires(),
            conn: Arc::downgrade(conn),
        });
    }

    /// Works until dropped.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.turn(), self.end_expired());
    }

    async fn turn(&self) {
        let slots = u32::try_from(SLOTS).unwrap_or(1);
        let tick = self.interval / slots;
        let mut every = tokio::time::interval(tick);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut at = 0;
        // The slot whose pongs are due now was pinged this many ticks ago.
        let behind = usize::try_from(self.timeout.as_nanos().div_ceil(tick.as_nanos().max(1)))
            .unwrap_or(SLOTS)
            .clamp(1, SLOTS - 1);
        loop {
            every.tick().await;
            self.slots[(at + SLOTS - behind) % SLOTS].lock().end_silent();
            self.slots[at].lock().ping();
            at = (at + 1) % SLOTS;
            if !self.spread {
                self.next.store(at, Ordering::Relaxed);
            }
        }
    }

    async fn end_expired(&self) {
        let mut every = tokio::time::interval(EXPIRY);
        loop {
            every.tick().await;
            let now = unix_now();
            let mut expiries = self.expiries.lock();
            while let Some(conn) = expiries.pop_due(now) {
                // A refreshed token has an entry of its own.
                if let Some(conn) = conn
                    && conn.expires() <= now
                {
                    conn.close(CloseCode::TokenExpired);
                }
            }
        }
    }
}

impl Slot {
    fn ping(&mut self) {
        self.pinged = Some(clock::ticks());
        self.waited = std::mem::take(&mut self.fresh);
        self.conns.retain(|conn| {
            let Some(conn) = conn.upgrade() else {
                return false;
            };
            // What does not fit waits behind so much else that it says nothing; the limit of the outbox decides.
            let _ = conn.push(conn.dialect.ping());
            conn.outbox.is_open()
        });
    }

    fn end_silent(&mut self) {
        let Some(pinged) = self.pinged.take() else {
            return;
        };
        for conn in self.conns.iter().filter_map(Weak::upgrade) {
            if !conn.alive_since(pinged) {
                conn.close(CloseCode::NoPong);
            }
        }
        self.conns.append(&mut self.waited);
    }
}

#[cfg(test)]
mod tests;
