//! What a sweep costs: 1,000 connections on one gateway, over a router and a NATS server of their own, with 10,000 and
//! then 100,000 targets unless told otherwise, nothing of which is newer than what the gateway has.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-sweep [targets…]
#![allow(clippy::print_stdout)]

use std::env;

use herald_tests::sweep::{PROCESSES, Plan, Size, milliseconds, run};

#[tokio::main]
async fn main() {
    let mut sizes: Vec<usize> = env::args()
        .skip(1)
        .map(|size| size.parse().expect("a number of targets, more than connections"))
        .collect();
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000];
    }
    sizes.sort_unstable();
    let plan = Plan {
        connections: 1_000,
        sizes,
        sweeps: 12,
    };
    println!(
        "Told apart: what always is (pings, beats, leases) is what the same connections use without groups, and is"
    );
    println!(
        "subtracted. Windows with a reading of memberships (a question of the gateway on cmd.connect) are not counted."
    );
    let sizes = run(&plan, told).await;
    let [base, sizes @ ..] = &sizes[..] else {
        return;
    };
    for size in sizes {
        println!("\n{} targets, for each 1,000:", size.targets);
        for (i, name) in PROCESSES.iter().enumerate() {
            println!(
                "  {name:11}  sweep {:6.2} ms CPU   memory {:6.2} MB",
                size.per_thousand(base, i),
                size.memory_each(base, i) / 1e3,
            );
        }
    }
    println!(
        "\nreference: 1.4 to 2.6 ms of server CPU for a sweep of 1,000 targets with nothing newer, when it was designed"
    );
}

fn told(size: &Size) {
    let quiet = &size.quiet;
    println!(
        "{} targets: {} sweeps of {:.1} ms counted in {:.1} s; CPU then {}",
        size.targets,
        quiet.sweeps,
        milliseconds(quiet.mean_sweep()),
        quiet.length.as_secs_f64(),
        PROCESSES
            .iter()
            .zip(quiet.cpu)
            .map(|(name, cpu)| format!("{name} {:.0} ms", milliseconds(cpu)))
            .collect::<Vec<_>>()
            .join(", "),
    );
}
