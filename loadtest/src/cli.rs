//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    capacity::Capacity,
    floor::Floor,
    nats_floor::NatsFloor,
    options::common::Reports,
    scenario::{
        broadcast::Broadcast, churn::Churn, group::Group, http::HttpArgs, idle::Idle, mixed::Mixed, soak::Soak,
        storm::Storm, unicast::Unicast,
    },
};

/// Puts load on a Herald, from outside, and checks that nothing is lost
#[derive(Debug, Parser)]
#[command(version, after_help = EXITS)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What the process ends with.
const EXITS: &str = "\
Exits with 0 where all was good;
with 1 where anything was lost, doubled, out of order, refused or closed, or a server ended;
with 2 where it could not run; with 130 after Ctrl-C and 143 after SIGTERM, with a report of what was until then";

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
    Capacity(Capacity),
    /// A part of the clients, for the process that started this
    #[command(hide = true)]
    Worker,
}

/// A negative number is a value, which its option refuses with its bounds, and no option of its own.
pub fn parse() -> Cli {
    let options = |command: clap::Command| {
        command.mut_args(|arg| {
            let takes = arg.get_action().takes_values() && !arg.is_positional();
            if takes { arg.allow_negative_numbers(true) } else { arg }
        })
    };
    let matches = Cli::command().mut_subcommands(options).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

impl Command {
    /// Where the report of a scenario goes.
    pub fn reports(&self) -> Option<&Reports> {
        Some(match self {
            Self::Idle(args) => &args.options.reports,
            Self::Unicast(args) => &args.options.reports,
            Self::Group(args) => &args.options.reports,
            Self::Broadcast(args) => &args.options.reports,
            Self::Churn(args) => &args.options.reports,
            Self::Storm(args) => &args.options.reports,
            Self::Http(args) => &args.reports,
            Self::Mixed(args) => &args.options.reports,
            Self::Soak(args) => &args.options.reports,
            Self::Floor(_)
            | Self::NatsFloor(_)
            | Self::Compare { .. }
            | Self::Show { .. }
            | Self::Capacity(_)
            | Self::Worker => return None,
        })
    }
}
