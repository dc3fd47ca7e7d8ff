//! A rolling restart of 3 gateways and 2 routers under 2,000 clients, unless told otherwise, that come back to another
//! gateway at once. The bars: nobody is told to be offline who was not away for as long as the grace, and at rest presence
//! equals the truth, user by user.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-presence-rolling [clients]
#![allow(clippy::print_stdout)]

use std::{env, process::ExitCode};

use herald_tests::presence::{crash::BAR, rolling, told};

#[tokio::main]
async fn main() -> ExitCode {
    let clients = env::args()
        .nth(1)
        .map_or(2_000, |count| count.parse().expect("a number of clients"));
    let report = rolling::run(clients).await;
    println!(
        "clients {}, reconnects {}, the longest absence {:.2?}; pushes to watchers {}",
        report.clients, report.reconnects, report.longest, report.pushes
    );
    let held = [
        told(
            "seconds until all is right",
            report.right.as_secs_f64(),
            BAR.as_secs_f64(),
        ),
        told("wrong answers for users, at rest", report.wrong as f64, 0.0),
        told("false offline pushed", report.false_offline as f64, 0.0),
        told("false offline in answers to watch", report.false_absent as f64, 0.0),
    ];
    if held.iter().all(|held| *held) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
