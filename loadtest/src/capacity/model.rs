//! The model. Pure.

use super::{Constants, Load, Machines};
use limits::Limit;

mod limits;

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
}

#[cfg(test)]
mod tests;
