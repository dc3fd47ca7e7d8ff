//! Failing over at full length: 50 clients exchange 1,000 durable messages a second for 90 seconds, while the log's
//! leader, a router and a gateway are killed 15 seconds apart, and a router stands still for 20 seconds. The bar: nothing
//! lost, doubled or out of order, and no gap.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-failover
#![allow(clippy::print_stdout)]

use std::{process::ExitCode, time::Duration};

use herald_tests::failover::{Plan, run};

#[tokio::main]
async fn main() -> ExitCode {
    let plan = Plan {
        clients: 50,
        rate: 1_000,
        length: Duration::from_secs(90),
        apart: Duration::from_secs(15),
        pause: Duration::from_secs(20),
        settle: Duration::from_secs(120),
    };
    let report = run(plan).await;
    println!("sent         {:8}", report.sent);
    println!("received     {:8}", report.received);
    println!("repeated     {:8}", report.repeated);
    println!("retries      {:8}", report.retries);
    println!("reconnects   {:8}", report.reconnects);
    for (name, figure) in [
        ("lost", report.lost),
        ("out of order", report.out_of_order),
        ("doubled", report.doubled),
        ("gaps told", report.gaps),
        ("never sent", report.unsent),
    ] {
        let word = if figure == 0 { "held" } else { "MISSED" };
        println!("{name:12} {figure:8}   bar 0   {word}");
    }
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
