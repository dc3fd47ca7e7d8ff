//! Presence at rest: writes to the bucket for 0, 10,000 and 15,000 idle users on one gateway, over a real NATS. The bar:
//! no user's key is written, and the lease is refreshed as often with many users as with none.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-presence-growth
#![allow(clippy::print_stdout)]

use std::{process::ExitCode, time::Duration};

use herald_tests::presence::{crowd, growth, told};

const SIZES: [usize; 3] = [0, 10_000, 15_000];
const WINDOW: Duration = Duration::from_secs(30);
/// A window begins and ends anywhere between two refreshes.
const EDGE: f64 = 1.0;

#[tokio::main]
async fn main() -> ExitCode {
    if crowd::held().await {
        return ExitCode::SUCCESS;
    }
    println!("users   keys/s  leases/s  all/s  stored by NATS/s  oldest lease (s)");
    let rows = growth::run(&SIZES, WINDOW, |row| {
        let seconds = row.length.as_secs_f64();
        println!(
            "{:6} {:7.2} {:9.2} {:6.2} {:17.2} {:17.2}",
            row.users,
            row.keys / seconds,
            row.leases / seconds,
            (row.keys + row.leases) / seconds,
            row.stored as f64 / seconds,
            row.age
        );
    })
    .await;
    let keys = rows.iter().map(|row| row.keys).fold(0.0, f64::max);
    let more = rows.iter().map(|row| (row.leases - rows[0].leases).abs());
    let held = [
        told("users' keys written in 30 s", keys, 0.0),
        told(
            "refreshes, more or fewer than with no users",
            more.fold(0.0, f64::max),
            EDGE,
        ),
    ];
    if held.iter().all(|held| *held) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
