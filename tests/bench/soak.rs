//! Days of a game with a fault every half minute; what remains of each. Run by `tests/soak`.
#![allow(clippy::print_stdout)]

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use herald_tests::soak::{Plan, run};

/// One day with the rest after it.
const DAY: Duration = Duration::from_secs(85);
/// Keys of a node that died go a minute after its lease.
const REST: Duration = Duration::from_secs(65);

#[derive(Parser)]
struct Arguments {
    /// How long it takes, about
    #[arg(long, default_value_t = 20)]
    minutes: u64,
    /// Players at the busiest hour
    #[arg(long, default_value_t = 300)]
    clients: usize,
    /// Messages a second at the busiest hour
    #[arg(long, default_value_t = 40)]
    rate: u32,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        days: usize::try_from(arguments.minutes * 60 / (DAY + REST).as_secs())
            .unwrap_or(usize::MAX)
            .max(3),
        day: DAY,
        rest: REST,
        apart: Duration::from_secs(30),
        clients: arguments.clients,
        rate: arguments.rate,
    };
    let outcome = run(plan).await;
    print!("{outcome}");
    if outcome.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
