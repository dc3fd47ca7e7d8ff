//! What was measured, on 2 cores of an AMD EPYC (Zen 4, 2.6 GHz) in a virtual machine, with nats-server 2.15: a core here
//! is one of those. `loadtest/README.md` says by which command each is measured; give your own with the flags.

use clap::Args;

use crate::bounds::Bounds;

const COST: Bounds = Bounds::new(0.0, 1_000_000.0, "in the unit that the help tells");
const SPEED: Bounds = Bounds::new(1.0, 1_000_000_000.0, "a second");

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Constants, measured")]
pub struct Constants {
    /// Gateway: CPU of a delivery to one connection, µs (`bars/fanout`: group of 1,000, 50 messages a second)
    #[arg(long, value_parser = COST.number(), default_value = "5.7")]
    pub delivery_us: f64,
    /// Gateway: CPU of a live copy that it gets, µs: read, ordered, encoded once; its share of the 19 µs of a one-to-one message that is one of many (`bars/one-to-one`)
    #[arg(long, value_parser = COST.number(), default_value = "7")]
    pub live_copy_us: f64,
    /// Gateway: CPU of a command, µs: read, decoded, asked of a router, answered; the rest of the same 19 µs
    #[arg(long, value_parser = COST.number(), default_value = "12")]
    pub gateway_command_us: f64,
    /// Router: CPU of a durable message, µs (`bars/one-to-one`: 7)
    #[arg(long, value_parser = COST.number(), default_value = "7")]
    pub router_message_us: f64,
    /// CPU of a connect with a cursor over gateway, router and NATS, µs (`bars/storm`: 236)
    #[arg(long, value_parser = COST.number(), default_value = "240")]
    pub connect_us: f64,
    /// Gateway: CPU of an idle connection, µs a second (`bars/idle`: 0.83 % of a core for 10,000)
    #[arg(long, value_parser = COST.number(), default_value = "0.83")]
    pub idle_us: f64,
    /// NATS: CPU of a stored message on its leader, request, answers and acknowledgement included, µs (`bars/one-to-one`: 15)
    #[arg(long, value_parser = COST.number(), default_value = "15")]
    pub append_us: f64,
    /// NATS: CPU of a copy to one subscriber or of one hop between servers, µs (core NATS: 1.27 million a second)
    #[arg(long, value_parser = COST.number(), default_value = "0.8")]
    pub copy_us: f64,
    /// NATS: CPU of a sweep over 1,000 targets with nothing newer, ms (`bench-sweep`: 3.1 to 3.2; more with 100,000 targets)
    #[arg(long, value_parser = COST.number(), default_value = "4.6")]
    pub sweep_ms: f64,
    /// Gateway: memory of a connection with NATS, KiB, its subscription included (`bars/idle`: 2.4)
    #[arg(long, value_parser = COST.number(), default_value = "2.4")]
    pub connection_kib: f64,
    /// Gateway: memory of a group's subscription, KiB: an entry in its tables, since it reads live copies over a connection of its own; reckoned
    #[arg(long, value_parser = COST.number(), default_value = "0.6")]
    pub subscription_kib: f64,
    /// NATS: memory of a subject that somebody subscribes to, KiB, on every server of the cluster
    #[arg(long, value_parser = COST.number(), default_value = "0.9")]
    pub interest_kib: f64,
    /// NATS: memory of a user's presence, membership and first stored message, KiB, what Go has not collected yet included, on each replica (`bars/idle`: 5.2 with the interest)
    #[arg(long, value_parser = COST.number(), default_value = "4.3")]
    pub indexed_kib: f64,
    /// Router: memory of an online user in its table, one membership included, KiB (`bars/idle` with NATS)
    #[arg(long, value_parser = COST.number(), default_value = "0.82")]
    pub router_user_kib: f64,
    /// Router: memory of each further membership, KiB; not measured, reckoned from the tables' entries
    #[arg(long, value_parser = COST.number(), default_value = "0.3")]
    pub router_membership_kib: f64,
    /// Bytes around a body in a frame to a client
    #[arg(long, value_parser = COST.number(), default_value = "190")]
    pub frame_bytes: f64,
    /// Bytes around a body on NATS and in the log
    #[arg(long, value_parser = COST.number(), default_value = "350")]
    pub stored_bytes: f64,
    /// Appends a second that one stream takes, whatever its servers' cores: one leader orders them (`nats-floor`)
    #[arg(long, value_parser = SPEED.number(), default_value = "94000")]
    pub appends_per_stream: f64,
    /// Presence keys a second that a new router reads at its start (`bench-presence-table`: 200,000 in 0.65 s)
    #[arg(long, value_parser = SPEED.number(), default_value = "300000")]
    pub presence_keys_per_second: f64,
}
