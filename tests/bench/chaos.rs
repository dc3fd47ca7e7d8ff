//! Breaks a cluster on purpose, seed after seed, and checks what its clients recorded. Run by `tests/chaos`, which gives it a network and a
//! mount namespace of its own.
#![allow(clippy::print_stdout)]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use herald_tests::chaos::{Outcome, Plan, run};

#[derive(Parser)]
struct Arguments {
    /// How many seeds are run, one after another.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How long each is disturbed, in seconds.
    #[arg(long, default_value_t = 60)]
    secs: u64,
    /// The first seed. Unset: 1.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the nodes' logs of a run with violations are put.
    #[arg(long, default_value = "target/chaos")]
    logs: PathBuf,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut violations = 0;
    println!(
        "  seed  faults    sent    heard  lost invented order doubled gaps unsent members presence treated  delivered present left"
    );
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let plan = Plan {
            seed,
            length: Duration::from_secs(arguments.secs),
            logs: arguments.logs.clone(),
        };
        let outcome = run(&plan).await?;
        violations += outcome.verdict.violations();
        println!("{}", line(&outcome));
        if !outcome.verdict.is_good() {
            println!("    {}", outcome.faults.join("\n    "));
            print!("{}", outcome.verdict);
            println!("    again: tests/chaos --seed {seed} --secs {}", arguments.secs);
        }
    }
    println!(
        "{} seeds of {} s, {violations} violations",
        arguments.seeds, arguments.secs
    );
    Ok(if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(outcome: &Outcome) -> String {
    let seconds =
        |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
    let v = &outcome.verdict;
    format!(
        "{:6} {:7} {:7} {:8} {:5} {:8} {:5} {:7} {:4} {:6} {:7} {:8} {:7} {:>10} {:>7} {:>6}",
        outcome.seed,
        outcome.faults.len(),
        v.sent,
        v.heard,
        v.lost,
        v.invented,
        v.disordered,
        v.doubled,
        v.gaps,
        v.unsent,
        v.memberships,
        v.presence,
        v.faults.len(),
        seconds(outcome.delivered),
        seconds(outcome.present),
        seconds(outcome.left),
    )
}
