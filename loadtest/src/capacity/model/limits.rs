//! What the cluster runs into first.

use super::Needs;
use crate::capacity::{Constants, Load, Machines};

#[derive(Debug, Clone)]
pub struct Limit {
    pub what: &'static str,
    /// Of what can be had: above 1 it does not work.
    pub used: f64,
    pub then: &'static str,
}

impl Needs {
    /// What more gateways and routers do not help, and the storm.
    pub(super) fn limits(&self, load: &Load, machines: &Machines, constants: &Constants) -> Vec<Limit> {
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
