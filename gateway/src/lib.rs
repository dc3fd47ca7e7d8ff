//! The gateway: terminates client connections, checks tokens, speaks the wire dialects, and fans messages out.

pub mod addresses;
pub mod api;
pub mod auth;
mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conn;
pub mod crowd;
pub mod dialect;
pub mod event;
pub mod gateway;
pub mod hub;
pub mod keeper;
pub mod metrics;
pub mod node;
pub mod origin;
pub mod presence;
pub mod rate;
mod reread;
mod revoked;
pub mod routers;
pub mod server;
pub mod services;
pub mod session;
mod told;
mod watching;
