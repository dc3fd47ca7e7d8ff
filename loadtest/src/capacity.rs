//! How large a cluster must be, on paper: from what the application does to nodes, memory and bandwidth, by constants that
//! were measured. And which part is the first that more nodes do not help.

use clap::{Args, Parser};

use crate::bounds::Bounds;

pub mod constants;
pub mod model;
pub mod text;

pub use constants::Constants;

// What the model is good for; beyond, a figure is a mistake.
const USERS: Bounds = Bounds::new(1.0, 10_000_000_000.0, "users");
const MEMBERSHIPS: Bounds = Bounds::new(0.0, 10_000.0, "groups of a user");
const SIZE: Bounds = Bounds::new(1.0, 10_000_000_000.0, "members");
const HOURLY: Bounds = Bounds::new(0.0, 10_000_000.0, "messages an hour");
const BODY: Bounds = Bounds::new(0.0, 16_777_216.0, "bytes");
const MINUTES: Bounds = Bounds::new(0.01, 1_000_000.0, "minutes");
const SECONDS: Bounds = Bounds::new(0.1, 1_000_000.0, "seconds");
const HOURS: Bounds = Bounds::new(0.01, 1_000_000.0, "hours");
const REPLICAS: Bounds = Bounds::new(1.0, 5.0, "replicas; NATS has no more than 5");
const SERVERS: Bounds = Bounds::new(1.0, 1_000.0, "servers");
const CORES: Bounds = Bounds::new(0.1, 10_000.0, "cores");
const MEMORY: Bounds = Bounds::new(0.1, 100_000.0, "GiB");
const NETWORK: Bounds = Bounds::new(0.001, 100_000.0, "Gbit/s");
const HEADROOM: Bounds = Bounds::new(0.01, 1.0, "a share: 0.5 is half");
const CONNECTIONS: Bounds = Bounds::new(1.0, 10_000_000.0, "connections");

/// What does not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error("--replicas must be at most --nats-servers: each replica is on a server of its own")]
    Replicas,
    #[error("--group-size must be at most --users: members are users")]
    GroupSize,
    #[error("--groups-per-user must be at most --users: of more groups there are not enough members")]
    Groups,
}

pub fn check(load: &Load) -> Result<(), Contradiction> {
    let users = load.users as f64;
    if load.replicas > load.nats_servers {
        return Err(Contradiction::Replicas);
    }
    if load.group_size > users {
        return Err(Contradiction::GroupSize);
    }
    if load.groups_per_user > users {
        return Err(Contradiction::Groups);
    }
    Ok(())
}

/// What the application does, at its busiest.
#[derive(Debug, Clone, Args)]
pub struct Load {
    /// Users connected at once
    #[arg(long, value_parser = USERS.whole::<u64>(), default_value = "1000000")]
    pub users: u64,
    /// Groups that each belongs to
    #[arg(long, value_parser = MEMBERSHIPS.number(), default_value = "3")]
    pub groups_per_user: f64,
    /// Connected members of a group
    #[arg(long, value_parser = SIZE.number(), default_value = "50")]
    pub group_size: f64,
    /// Messages that a user sends to groups, an hour
    #[arg(long, value_parser = HOURLY.number(), default_value = "6")]
    pub group_messages: f64,
    /// Messages that a user sends to single others, an hour
    #[arg(long, value_parser = HOURLY.number(), default_value = "12")]
    pub direct_messages: f64,
    /// Messages to everybody, an hour
    #[arg(long, value_parser = HOURLY.number(), default_value = "4")]
    pub broadcasts: f64,
    /// Bytes of a body
    #[arg(long, value_parser = BODY.number(), default_value = "200")]
    pub body: f64,
    /// How long a connection lasts, in minutes
    #[arg(long, value_parser = MINUTES.number(), default_value = "20")]
    pub connection_minutes: f64,
    /// Everybody reconnects within so many seconds after a failure of everything
    #[arg(long, value_parser = SECONDS.number(), default_value = "60")]
    pub storm_seconds: f64,
    /// Replicas of the log
    #[arg(long, value_parser = REPLICAS.whole_number(), default_value = "3")]
    pub replicas: f64,
    /// NATS servers of the cluster
    #[arg(long, value_parser = SERVERS.whole_number(), default_value = "3")]
    pub nats_servers: f64,
    /// How long messages are kept, in hours
    #[arg(long, value_parser = HOURS.number(), default_value = "72")]
    pub kept_hours: f64,
}

/// The machines that it runs on.
#[derive(Debug, Clone, Args)]
pub struct Machines {
    /// Cores of a node
    #[arg(long, value_parser = CORES.number(), default_value = "8")]
    pub cores: f64,
    /// Memory of a node, in GiB
    #[arg(long, value_parser = MEMORY.number(), default_value = "16")]
    pub memory_gib: f64,
    /// Network of a node, in Gbit/s
    #[arg(long, value_parser = NETWORK.number(), default_value = "10")]
    pub network_gbit: f64,
    /// Share of a node that may be used: the rest is for its neighbour's failure
    #[arg(long, value_parser = HEADROOM.number(), default_value = "0.5")]
    pub headroom: f64,
    /// Connections that one gateway is given at most, so that its failure is no disaster
    #[arg(long, value_parser = CONNECTIONS.whole_number(), default_value = "100000")]
    pub connections_per_gateway: f64,
}

/// All that it is computed from.
#[derive(Debug, Parser)]
pub struct Capacity {
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub machines: Machines,
    #[command(flatten)]
    pub constants: Constants,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Capacity, String> {
        Capacity::try_parse_from([&["capacity"], arguments].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_bounds() {
        let wrong = [
            ["--cores", "0"],
            ["--headroom", "0"],
            ["--headroom", "1.5"],
            ["--nats-servers", "0"],
            ["--replicas", "2.5"],
            ["--connection-minutes", "0"],
            ["--users", "0"],
            ["--body", "nan"],
            ["--delivery-us", "inf"],
            ["--appends-per-stream", "0"],
        ];
        for [option, value] in wrong {
            let error = parse(&[option, value]).expect_err(value);
            assert!(error.contains(option) && error.contains("must be a"), "{error}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let contradiction = |arguments: &[&str]| check(&parse(arguments).expect("each for itself is good").load);
        assert_eq!(contradiction(&[]), Ok(()));
        assert_eq!(contradiction(&["--nats-servers", "1"]), Err(Contradiction::Replicas));
        assert_eq!(contradiction(&["--users", "10"]), Err(Contradiction::GroupSize));
        let groups = ["--users", "60", "--groups-per-user", "61"];
        assert_eq!(contradiction(&groups), Err(Contradiction::Groups));
    }
}
