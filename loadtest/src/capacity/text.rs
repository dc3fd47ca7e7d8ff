//! The model's answer as text.

use std::fmt::{self, Write};

use super::{Load, Machines, model::Needs};
use crate::report::number::{count, plain};

pub fn text(load: &Load, machines: &Machines, needs: &Needs) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, load, machines, needs);
    out
}

fn write(out: &mut String, load: &Load, machines: &Machines, needs: &Needs) -> fmt::Result {
    let rates = &needs.rates;
    writeln!(
        out,
        "{} users at once, nodes of {} cores, {} GiB, {} Gbit/s, used to {} %\n",
        count(load.users),
        plain(machines.cores),
        plain(machines.memory_gib),
        plain(machines.network_gbit),
        plain(machines.headroom * 100.0)
    )?;
    let mut line = |name: &str, value: String| writeln!(out, "  {name:<52} {value:>16}");
    line("messages stored, a second", plain(rates.appends))?;
    line("live copies to gateways, a second", plain(rates.live_copies))?;
    line("gateways that a group message goes to", plain(rates.gateways_per_group))?;
    line("deliveries to clients, a second", plain(rates.deliveries))?;
    line("connects, a second", plain(rates.connects))?;
    line("to all clients, Gbit/s", plain(needs.clients_gbit))?;
    writeln!(out)?;
    let mut row = |cells: [&str; 5]| {
        let [name, rest @ ..] = cells;
        write!(out, "  {name:<12}")?;
        for cell in rest {
            write!(out, " {cell:>20}")?;
        }
        writeln!(out)
    };
    row(["", "nodes", "cores, all", "memory, GiB each", "subscriptions each"])?;
    row([
        "gateways",
        &plain(needs.gateways),
        &plain(needs.gateway_cores),
        &plain(needs.gateway_memory),
        &plain(needs.subscriptions),
    ])?;
    row([
        "routers",
        &plain(needs.routers),
        &plain(needs.router_cores),
        &plain(needs.router_memory),
        "–",
    ])?;
    row([
        "NATS",
        &plain(load.nats_servers),
        &plain(needs.nats_cores),
        &plain(needs.nats_memory),
        "–",
    ])?;
    writeln!(
        out,
        "\n  the log: {} TiB on each of {} replicas for {} h; the busiest NATS server sends {} Gbit/s",
        plain(needs.disk),
        plain(load.replicas),
        plain(load.kept_hours),
        plain(needs.nats_gbit)
    )?;
    writeln!(
        out,
        "  all reconnect within {} s: {} cores meanwhile, and {} appends a second",
        plain(load.storm_seconds),
        plain(needs.storm_cores),
        plain(needs.storm_appends)
    )?;
    writeln!(
        out,
        "\n  What more gateways do not help, nearest to its end first (beyond 100 % it does not work):\n"
    )?;
    for limit in &needs.limits {
        writeln!(
            out,
            "  {:>8} %  {}\n{:12}then: {}",
            plain(limit.used * 100.0),
            limit.what,
            "",
            limit.then
        )?;
    }
    Ok(())
}
