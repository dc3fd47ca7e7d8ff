//! The outsider's tools: Herald's binaries as processes, clients of its wire, and a NATS of one's own.
//!
//! Nothing here knows the server's code: what is tested is what a user gets.

use std::time::{Duration, Instant};

pub mod api;
pub mod article;
pub mod backend;
pub mod chaos;
pub mod client;
pub mod cluster;
pub mod codec;
pub mod command;
pub mod conformance;
pub mod curl;
pub mod deployed;
pub mod events;
pub mod failover;
pub mod follower;
pub mod foreign;
pub mod gateway;
pub mod golang;
pub mod guard;
pub mod haproxy;
pub mod heard;
pub mod http;
pub mod javascript;
pub mod loadtest;
pub mod metrics;
pub mod monitor;
pub mod namespace;
pub mod nats;
pub mod neighbours;
pub mod nginx;
pub mod outgoing;
pub mod poller;
pub mod presence;
pub mod process;
pub mod prometheus;
pub mod raw;
pub mod relay;
pub mod restarts;
pub mod short;
pub mod soak;
pub mod storm;
pub mod sweep;
pub mod tls;
pub mod token;
pub mod upgrade;
pub mod usage;
pub mod webhook;

/// How long a test waits for what must happen. Generous: it decides only how late a failure is told.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `holds` does; fails the test, naming `what`, where it never does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
