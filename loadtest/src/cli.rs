//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    capacity::{Constants, Load, Machines},
    floor::Floor,
    nats_floor::NatsFloor,
    scenario::{
        broadcast::Broadcast, churn::Churn, group::Group, http::HttpArgs, idle::Idle, mixed::Mixed, soak::Soak,
        storm::Storm, unicast::Unicast,
    },
};

/// Puts load on a Herald, from outside, and checks that nothing is lost. Exits with 1 where anything was.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connections that do nothing: memory and CPU of each
    Idle(Idle),
    /// One-to-one messages
    Unicast(Unicast),
    /// Messages to groups
    Group(Group),
    /// Messages to everybody
    Broadcast(Broadcast),
    /// Clients that leave and come back while messages go on
    Churn(Churn),
    /// All clients are cut off and come back at once
    Storm(Storm),
    /// HTTP short connections: login, messages, refresh, logout
    Http(HttpArgs),
    /// A day of a game, scaled
    Mixed(Mixed),
    /// The same load for long: does anything grow?
    Soak(Soak),
    /// The smallest possible server, to compare with: one write for each delivery. Runs until it is killed
    Floor(Floor),
    /// What NATS itself gives on this machine, to compare with
    NatsFloor(NatsFloor),
    /// Ratios of two runs' JSON files
    Compare { a: PathBuf, b: PathBuf },
    /// The table, and the page, of a run's JSON file
    Show {
        file: PathBuf,
        /// Write the page with charts
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// How large a cluster must be
    Capacity {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        machines: Machines,
        #[command(flatten)]
        constants: Constants,
    },
    /// A part of the clients, for the process that started this
    #[command(hide = true)]
    Worker,
}
