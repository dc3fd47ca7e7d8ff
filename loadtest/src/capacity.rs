//! How large a cluster must be, on paper: from what the application does to nodes, memory and bandwidth, by constants that
//! were measured. And which part is the first that more nodes do not help.

use clap::Args;

pub mod constants;
pub mod model;
pub mod text;

pub use constants::Constants;

/// What the application does, at its busiest.
#[derive(Debug, Clone, Args)]
pub struct Load {
    /// Users connected at once
    #[arg(long, default_value_t = 1_000_000)]
    pub users: u64,
    /// Groups that each belongs to
    #[arg(long, default_value_t = 3.0)]
    pub groups_per_user: f64,
    /// Connected members of a group
    #[arg(long, default_value_t = 50.0)]
    pub group_size: f64,
    /// Messages that a user sends to groups, an hour
    #[arg(long, default_value_t = 6.0)]
    pub group_messages: f64,
    /// Messages that a user sends to single others, an hour
    #[arg(long, default_value_t = 12.0)]
    pub direct_messages: f64,
    /// Messages to everybody, an hour
    #[arg(long, default_value_t = 4.0)]
    pub broadcasts: f64,
    /// Bytes of a body
    #[arg(long, default_value_t = 200.0)]
    pub body: f64,
    /// How long a connection lasts, in minutes
    #[arg(long, default_value_t = 20.0)]
    pub connection_minutes: f64,
    /// Everybody reconnects within so many seconds after a failure of everything
    #[arg(long, default_value_t = 60.0)]
    pub storm_seconds: f64,
    /// Replicas of the log
    #[arg(long, default_value_t = 3.0)]
    pub replicas: f64,
    /// NATS servers of the cluster
    #[arg(long, default_value_t = 3.0)]
    pub nats_servers: f64,
    /// How long messages are kept, in hours
    #[arg(long, default_value_t = 72.0)]
    pub kept_hours: f64,
}

/// The machines that it runs on.
#[derive(Debug, Clone, Args)]
pub struct Machines {
    /// Cores of a node
    #[arg(long, default_value_t = 8.0)]
    pub cores: f64,
    /// Memory of a node, in GiB
    #[arg(long, default_value_t = 16.0)]
    pub memory_gib: f64,
    /// Network of a node, in Gbit/s
    #[arg(long, default_value_t = 10.0)]
    pub network_gbit: f64,
    /// Share of a node that may be used: the rest is for its neighbour's failure
    #[arg(long, default_value_t = 0.5)]
    pub headroom: f64,
    /// Connections that one gateway is given at most, so that its failure is no disaster
    #[arg(long, default_value_t = 100_000.0)]
    pub connections_per_gateway: f64,
}
