//! What is measured: latency, order, and what it costs the servers.

pub mod latency;
pub mod machine;
pub mod order;
pub mod usage;
pub mod watch;
