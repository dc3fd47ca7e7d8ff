//! The gateway: terminates client connections, checks tokens, speaks the wire dialects, and fans messages out.

pub mod accounts;
pub mod addresses;
pub mod api;
pub mod attempts;
pub mod auth;
mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conn;
pub mod cors;
pub mod crowd;
mod cursors;
pub mod dialect;
mod elsewhere;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod http_body;
pub mod hub;
pub mod keeper;
pub mod login;
pub mod metrics;
pub mod node;
pub mod origin;
pub mod paths;
pub mod post;
pub mod presence;
pub mod proxies;
pub mod rate;
mod reload;
mod reread;
mod revoked;
pub mod routers;
pub mod server;
pub mod services;
pub mod session;
pub mod sessions;
pub mod short;
pub mod tls;
mod told;
mod watching;
