//! The router: decides and records who may send to whom, who belongs to which group, and who is online; and the bus that
//! carries it all. Runs as `herald-router`, or inside a gateway that has no NATS.

pub mod admin;
mod beat;
pub mod bus;
pub mod cli;
pub mod config;
pub mod core;
pub mod directory;
pub mod failure;
pub mod http;
pub mod metrics;
pub mod policy;
pub mod presence;
pub mod reload;
pub mod service;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod watches;
