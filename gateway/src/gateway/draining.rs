//! The end of all connections of a node that drains.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::DashMap;
use herald_proto::CloseCode;
use tokio::time::{Instant, sleep_until};

use crate::conn::Conn;

/// The open connections, by their numbers.
pub(super) type Open = DashMap<u64, Arc<Conn>>;

/// Closes them spread evenly over `window`, so that clients do not come back all at once; each at some moment of its own share
/// of the time, so that those of several nodes do not fall together.
pub(super) async fn close_all(open: &Open, window: Duration) {
    let conns: Vec<Weak<Conn>> = open.iter().map(|entry| Arc::downgrade(entry.value())).collect();
    let started = Instant::now();
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let share = window.as_secs_f64() / conns.len().max(1) as f64;
    #[allow(clippy::cast_precision_loss)]
    for (i, conn) in conns.iter().enumerate() {
        let at = share * (i as f64 + rand::random::<f64>());
        sleep_until(started + Duration::from_secs_f64(at)).await;
        // Most have gone by then, or would have.
        if let Some(conn) = conn.upgrade() {
            conn.close(CloseCode::ShuttingDown);
        }
    }
    // Those that were being upgraded when it began.
    for entry in open {
        entry.value().close(CloseCode::ShuttingDown);
    }
}

#[cfg(test)]
mod tests;
