//! The model. Pure.

use super::{Constants, Load, Machines};

/// What the cluster must carry, a second, and what that takes.
#[derive(Debug, Clone)]
pub struct Needs {
    pub gateways: f64,
    pub routers: f64,
    pub rates: Rates,
    /// Cores, all nodes of a kind together.
    pub gateway_cores: f64,
    pub router_cores: f64,
    pub nats_cores: f64,
    /// During the storm, all kinds together.
    pub storm_cores: f64,
    /// A second, while the storm lasts, to the stream of presence.
    pub storm_appends: f64,
    /// GiB, of one node.
    pub gateway_memory: f64,
    pub router_memory: f64,
    pub nats_memory: f64,
    pub nats_interest: f64,
    /// TiB of the log, on one replica.
    pub disk: f64,
    /// Gbit/s: all clients together, and what the busiest NATS server sends.
    pub clients_gbit: f64,
    pub nats_gbit: f64,
    /// Of one gateway.
    pub subscriptions: f64,
    pub router_start_seconds: f64,
    /// What is nearest to its end, first.
    pub limits: Vec<Limit>,
}

/// A second, in the whole cluster.
#[derive(Debug, Clone)]
pub struct Rates {
    pub appends: f64,
    pub live_copies: f64,
    pub deliveries: f64,
    pub connects: f64,
    /// Gateways that a group message goes to.
    pub gateways_per_group: f64,
}

#[derive(Debug, Clone)]
pub struct Limit {
    pub what: &'static str,
    /// Of what can be had: above 1 it does not work.
    pub used: f64,
    pub then: &'static str,
}

const GIB: f64 = (1u64 << 30) as f64;
const KIB: f64 = 1024.0;
/// Appends of a user who comes back to another gateway: its key there, and the end of the one here.
const PRESENCE_WRITES: f64 = 2.0;

impl Rates {
    fn of(load: &Load, gateways: f64) -> Self {
        let users = load.users as f64;
        let direct = users * load.direct_messages / 3600.0;
        let group = users * load.group_messages / 3600.0;
        let broadcast = load.broadcasts / 3600.0;
        // Members on so many gateways, each anywhere: those with at least one.
        let gateways_per_group = gateways * (1.0 - (1.0 - 1.0 / gateways).powf(load.group_size));
        Self {
            appends: direct + group + broadcast,
            live_copies: direct + group * gateways_per_group + broadcast * gateways,
            deliveries: direct + group * load.group_size + broadcast * users,
            connects: users / (load.connection_minutes * 60.0),
            gateways_per_group,
        }
    }
}

/// The smallest number of gateways that carries the load.
fn gateways(load: &Load, machines: &Machines, constants: &Constants) -> f64 {
    let users = load.users as f64;
    let mut gateways = (users / machines.connections_per_gateway).ceil().max(1.0);
    // More gateways mean more copies, so it is found step by step.
    for _ in 0..10_000 {
        let enough_cores = gateway_cores(load, constants, gateways) <= gateways * machines.cores * machines.headroom;
        let enough_memory = gateway_memory(load, constants, gateways) <= machines.memory_gib * machines.headroom;
        let gbit = clients_gbit(load, constants, gateways) / gateways;
        if enough_cores && enough_memory && gbit <= machines.network_gbit * machines.headroom {
            break;
        }
        gateways = (gateways * 1.02).ceil();
    }
    gateways
}

fn gateway_cores(load: &Load, constants: &Constants, gateways: f64) -> f64 {
    let rates = Rates::of(load, gateways);
    let micros = rates.deliveries * constants.delivery_us
        + rates.live_copies * constants.live_copy_us
        + rates.appends * constants.gateway_command_us
        + rates.connects * constants.connect_us * 0.6
        + load.users as f64 * constants.idle_us;
    micros / 1e6
}

/// Groups that have a member on a gateway.
fn groups_on_a_gateway(load: &Load, gateways: f64) -> f64 {
    let groups = load.users as f64 * load.groups_per_user / load.group_size.max(1.0);
    groups * (1.0 - (1.0 - 1.0 / gateways).powf(load.group_size))
}

/// GiB of one gateway.
fn gateway_memory(load: &Load, constants: &Constants, gateways: f64) -> f64 {
    let connections = load.users as f64 / gateways;
    let kib = connections * constants.connection_kib + groups_on_a_gateway(load, gateways) * constants.subscription_kib;
    kib * KIB / GIB
}

fn clients_gbit(load: &Load, constants: &Constants, gateways: f64) -> f64 {
    let bytes = load.body + constants.frame_bytes;
    Rates::of(load, gateways).deliveries * bytes * 8.0 / 1e9
}

impl Needs {
    pub fn of(load: &Load, machines: &Machines, constants: &Constants) -> Self {
        let users = load.users as f64;
        let gateways = gateways(load, machines, constants);
        let rates = Rates::of(load, gateways);
        let router_cores =
            (rates.appends * constants.router_message_us + rates.connects * constants.connect_us * 0.2) / 1e6;
        let memberships = users * load.groups_per_user;
        let further = users * (load.groups_per_user - 1.0).max(0.0);
        let router_memory = (users * constants.router_user_kib + further * constants.router_membership_kib) * KIB / GIB;
        let usable = machines.cores * machines.headroom;
        let routers = (router_cores / usable).ceil().max(2.0);

        let subscriptions = users / gateways + groups_on_a_gateway(load, gateways);
        let all_subscriptions = subscriptions * gateways;
        // A sweep goes over all targets of a gateway; beyond 100,000 it comes less often, at the same rate of targets.
        let swept = (subscriptions / 5.0).min(20_000.0) * gateways;
        let hops = rates.live_copies * (1.0 + (load.nats_servers - 1.0) / load.nats_servers);
        let nats_cores = (rates.appends * constants.append_us * load.replicas.max(1.0)
            + rates.appends * 4.0 * constants.copy_us
            + hops * constants.copy_us
            + rates.connects * constants.connect_us * 0.2
            + swept * constants.sweep_ms)
            / 1e6;
        // One client's subject on several gateways counts once.
        let groups = memberships / load.group_size.max(1.0);
        let nats_interest = (users + groups).min(all_subscriptions) * constants.interest_kib * KIB / GIB;
        let nats_memory = nats_interest + users * constants.indexed_kib * KIB / GIB;
        let stored = load.body + constants.stored_bytes;
        let nats_bytes = (rates.appends * load.replicas + hops) * stored / load.nats_servers;
        let storm_cores = users / load.storm_seconds * constants.connect_us / 1e6;
        let mut needs = Self {
            gateways,
            routers,
            gateway_cores: gateway_cores(load, constants, gateways),
            router_cores,
            nats_cores,
            storm_cores,
            storm_appends: users / load.storm_seconds * PRESENCE_WRITES,
            gateway_memory: gateway_memory(load, constants, gateways),
            router_memory,
            nats_memory,
            nats_interest,
            disk: rates.appends * 3600.0 * load.kept_hours * stored / (GIB * KIB),
            clients_gbit: clients_gbit(load, constants, gateways),
            nats_gbit: nats_bytes * 8.0 / 1e9,
            subscriptions,
            router_start_seconds: users / constants.presence_keys_per_second,
            limits: Vec::new(),
            rates,
        };
        needs.limits = needs.limits(load, machines, constants);
        needs
    }

    /// What more gateways and routers do not help, and the storm.
    fn limits(&self, load: &Load, machines: &Machines, constants: &Constants) -> Vec<Limit> {
        let usable = machines.cores * machines.headroom;
        let memory = machines.memory_gib * machines.headroom;
        let all_cores = (self.gateways + self.routers + load.nats_servers) * machines.cores;
        let limit = |what, used, then| Limit { what, used, then };
        let mut limits = vec![
            limit(
                "NATS: memory of interest, on every server",
                self.nats_interest / memory,
                "more memory for NATS; then leave per-user subjects for one subject per gateway (routers look up who is where), or split users over clusters by gateway pools (leaf nodes)",
            ),
            limit(
                "NATS: memory of interest and of the log's index",
                self.nats_memory / memory,
                "more memory; then several shards of the log, on different servers",
            ),
            limit(
                "NATS: CPU",
                self.nats_cores / (load.nats_servers * usable),
                "more NATS servers; then shards of the log, and sweeps less often",
            ),
            limit(
                "NATS: network of a server",
                self.nats_gbit / (machines.network_gbit * machines.headroom),
                "more NATS servers",
            ),
            limit(
                "the log: appends of one stream",
                self.rates.appends / (constants.appends_per_stream * machines.headroom),
                "several shards of the log (the subject has a place for the shard's number)",
            ),
            limit(
                "routers: memory, each knows all users and memberships",
                self.router_memory / memory,
                "more memory for routers; then routers for a share of the users each",
            ),
            limit(
                "routers: a start reads all presence, in seconds of 30",
                self.router_start_seconds / 30.0,
                "keep other routers running meanwhile; then a share of the users each",
            ),
            limit(
                "a storm: appends of one stream, that of presence",
                self.storm_appends / constants.appends_per_stream,
                "clients that come back over a longer time",
            ),
            limit(
                "a storm: CPU of all nodes",
                self.storm_cores / all_cores,
                "clients that come back over a longer time, or more nodes",
            ),
        ];
        limits.sort_by(|a, b| b.used.total_cmp(&a.used));
        limits
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct All {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        machines: Machines,
        #[command(flatten)]
        constants: Constants,
    }

    fn needs(arguments: &[&str]) -> Needs {
        let all = All::parse_from([&["capacity"], arguments].concat());
        Needs::of(&all.load, &all.machines, &all.constants)
    }

    #[test]
    fn more_users_need_more_of_everything() {
        let (few, many) = (needs(&["--users", "100000"]), needs(&["--users", "1000000"]));
        assert!(few.gateways < many.gateways);
        assert!(few.nats_memory * 9.0 < many.nats_memory);
        assert!(few.rates.deliveries * 9.0 < many.rates.deliveries);
    }

    #[test]
    fn a_group_message_goes_to_no_more_gateways_than_there_are_members_or_gateways() {
        let needs = needs(&["--users", "10000000", "--group-size", "10"]);
        assert!(needs.rates.gateways_per_group <= 10.0);
        let one = Rates::of(&All::parse_from(["capacity"]).load, 1.0);
        assert!((one.gateways_per_group - 1.0).abs() < 1e-9);
    }

    #[test]
    fn with_ten_million_users_the_interest_of_nats_is_beyond_a_server_of_16_gib() {
        let needs = needs(&["--users", "10000000"]);
        assert!((8.0..10.0).contains(&needs.nats_interest), "{}", needs.nats_interest);
        assert!(needs.limits[0].used > 1.0);
        assert!(
            needs
                .limits
                .iter()
                .any(|limit| limit.what.contains("interest") && limit.used > 1.0)
        );
    }

    #[test]
    fn a_storm_is_held_against_what_one_stream_takes() {
        let used = |seconds: &str| {
            let needs = needs(&["--users", "1000000", "--storm-seconds", seconds]);
            let mut limits = needs
                .limits
                .iter()
                .filter(|limit| limit.what.contains("storm: appends"));
            limits.next().expect("such a limit").used
        };
        assert!(used("60") < 1.0, "{}", used("60"));
        assert!(used("10") > 1.0, "{}", used("10"));
    }

    #[test]
    fn what_is_nearest_to_its_end_comes_first() {
        let needs = needs(&["--users", "50000", "--direct-messages", "7200"]);
        assert!(
            needs.limits[0].what.contains("appends") || needs.limits[0].what.contains("NATS"),
            "{:?}",
            needs.limits[0]
        );
        assert!(needs.limits.is_sorted_by(|a, b| a.used >= b.used));
    }
}
