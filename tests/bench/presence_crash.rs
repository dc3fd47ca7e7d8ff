//! A gateway with 5,000 users, unless told otherwise, is killed; a fifth of them come back to another one at once. Watchers
//! there watch them all, and as many more as a tenth of them who were there before. The bars: within the lease, the grace
//! and 2 seconds exactly those who stay away are offline, each was told so once, and nobody else was spoken of.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-presence-crash [users]
#![allow(clippy::print_stdout)]

use std::{env, process::ExitCode};

use herald_tests::presence::{
    crash::{BAR, run},
    told,
};

#[tokio::main]
async fn main() -> ExitCode {
    let users = env::args()
        .nth(1)
        .map_or(5_000, |count| count.parse().expect("a number of users"));
    let report = run(users).await;
    println!(
        "watched {}, gone {}, told offline {}; those who came back were all there after {:.2?}",
        report.watched, report.gone, report.told, report.returned
    );
    println!(
        "first offline after {:.2?}, last after {:.2?}",
        report.first, report.last
    );
    let held = [
        told(
            "seconds until the last offline",
            report.last.as_secs_f64(),
            BAR.as_secs_f64(),
        ),
        told("gone and not told", (report.gone - report.told) as f64, 0.0),
        told("told more than once", report.doubles as f64, 0.0),
        told("told of others", report.wrong as f64, 0.0),
        told("wrong answers for users, in time", report.wrong_in_time as f64, 0.0),
        told("wrong answers for users, at the end", report.wrong_at_end as f64, 0.0),
    ];
    if held.iter().all(|held| *held) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
