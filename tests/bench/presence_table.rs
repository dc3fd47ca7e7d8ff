//! A router's table of presences: 200,000 users' keys stand in the bucket, unless told otherwise, and a router starts,
//! five times. Then it is asked for 1,000 users in one request, while 1,000 presences change in a second. The bars: the
//! table in under 1 second from the beginning of its watch; the answer in under 2 ms, from its arrival at the router as
//! the router counts it, and here with both ways over NATS.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-presence-table [users]
#![allow(clippy::print_stdout)]

use std::{env, process::ExitCode, time::Duration};

use herald_tests::presence::{table::World, told};

const STARTS: usize = 5;
const RATE: u32 = 1_000;
const QUESTIONS: usize = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    let users = env::args()
        .nth(1)
        .map_or(200_000, |count| count.parse().expect("a number of users"));
    let world = World::new(users).await;
    let (mut slowest, mut router) = (Duration::ZERO, None);
    println!("{users} users; seconds until the router is ready, from");
    println!("start of its watch  start of its process  (until its metric tells all)  CPU of router and NATS");
    for _ in 0..STARTS {
        drop(router.take());
        let (node, started) = world.router().await;
        println!(
            "{:18.3} {:21.3} {:30.3} {:13.2} {:9.2}",
            started.watch.as_secs_f64(),
            started.process.as_secs_f64(),
            started.shown.as_secs_f64(),
            started.cpu[0].as_secs_f64(),
            started.cpu[1].as_secs_f64()
        );
        slowest = slowest.max(started.watch);
        router = Some(node);
    }
    let router = router.expect("started above");
    let asked = world.ask_beside(&router, RATE, QUESTIONS).await;
    println!(
        "questions over NATS beside {:.0} changes a second; nothing is subtracted",
        asked.changes
    );
    for (name, times) in [("1,000 users", &asked.many), ("one user", &asked.one)] {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| milliseconds(times, part));
        println!("{name:12} p50 {p50:6.2} ms   p99 {p99:6.2} ms   most {most:6.2} ms");
    }
    let [mean, most, all] = asked.inside.map(|seconds| seconds * 1e3);
    println!(
        "inside the router, from arrival to answer: mean {mean:.2} ms   99 % within {most} ms   all within {all} ms"
    );
    println!(
        "CPU of the router for a question of 1,000 {:.2} ms",
        asked.cpu.as_secs_f64() * 1e3
    );
    let held = [
        told("seconds from watch to table, the slowest", slowest.as_secs_f64(), 1.0),
        told("milliseconds inside the router, p99's bucket", most, 2.0),
        told("milliseconds for 1,000 users, p50", milliseconds(&asked.many, 0.5), 2.0),
        told(
            "milliseconds for 1,000 users, p99",
            milliseconds(&asked.many, 0.99),
            2.0,
        ),
        told("changes a second short of 1,000", f64::from(RATE) - asked.changes, 20.0),
        told("questions without an answer", asked.unanswered as f64, 0.0),
        told("times the router lost its place", asked.lost as f64, 0.0),
        told("users wrong in the end", asked.wrong as f64, 0.0),
    ];
    if held.iter().all(|held| *held) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// `times` ascend.
fn milliseconds(times: &[Duration], part: f64) -> f64 {
    let last = times.len() - 1;
    times[(part * last as f64).round() as usize].as_secs_f64() * 1e3
}
