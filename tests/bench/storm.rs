//! The clients of a killed gateway, 5,000 unless told otherwise, come to another one with their cursors. The bars: all
//! are back within 10 seconds, nothing is lost, at most two requests to NATS for each, no consumer.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-storm [clients]
#![allow(clippy::print_stdout)]

use std::{env, process::ExitCode};

use herald_tests::storm;

#[tokio::main]
async fn main() -> ExitCode {
    let clients = env::args()
        .nth(1)
        .map_or(5_000, |count| count.parse().expect("a number of clients"));
    let report = storm::run(clients).await;
    println!(
        "clients {clients}, repeated {}, heard all after {:.1?}",
        report.repeated, report.complete
    );
    println!(
        "messages to NATS {}, of these presence {}",
        report.taken, report.presence
    );
    let mut held = true;
    for (name, figure, bar) in [
        ("seconds until the last is back", report.connected.as_secs_f64(), 10.0),
        ("messages lost", report.lost as f64, 0.0),
        ("messages out of order", report.late as f64, 0.0),
        ("gaps told", report.gaps as f64, 0.0),
        ("requests to NATS", report.requests() as f64, report.bar() as f64),
        ("consumers made on the log", report.consumers as f64, 0.0),
    ] {
        let word = if figure <= bar { "held" } else { "MISSED" };
        held &= figure <= bar;
        println!("{name:32} {figure:10.1}   bar {bar:8.1}   {word}");
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
