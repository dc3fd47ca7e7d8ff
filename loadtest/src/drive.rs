//! The load: a fleet of clients, in this process or in several, and senders that keep to a schedule.
//!
//! [`crew`] is what scenarios command. Its workers, each a [`worker`] with a [`fleet`] of its own, are told what to do
//! in lines of JSON, be it over a pipe to a child process or within this one. A [`probe`] goes before all of it.

pub mod board;
pub mod client;
pub mod crew;
pub mod fleet;
pub mod pacer;
pub mod plan;
pub mod probe;
pub mod sender;
pub mod worker;
