//! 10,000 connections that are half open, silent, send a byte a second or garbage, beside 1,000 clients that behave: how
//! much later those are answered, and when the bad ones are gone.
//!
//!     cargo build --release && cargo run --release -p herald-tests --bin bench-neighbours
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use anyhow::ensure;
use herald_tests::{
    gateway::{Config, SECRET},
    neighbours::{Bad, Good, Served},
    token,
    usage::Usage,
};

const GOOD: usize = 1_000;
const BAD: usize = 10_000;
const ROUND: Duration = Duration::from_secs(8);
/// Heads, first bodies and first frames have 10 s; what is left is for the goodbyes.
const GONE_WITHIN: Duration = Duration::from_secs(15);
const TIMES: f64 = 3.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let limits = "connections_per_address = 2000\nconnects_per_second = 100000\nconnects_burst = 100000";
    let gateway = Config {
        limits: limits.into(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let good = Good::connect(gateway.public(), GOOD, |user| {
        token::hs256(SECRET, &token::claims(user))
    })
    .await;
    let alone = good.served_for(ROUND).await;
    show("alone", &alone);
    let memory = Usage::of(gateway.id()).memory;
    let begin = Instant::now();
    let bad = Bad::connect(gateway.public(), BAD).await;
    println!(
        "{BAD} bad ones connected in {:.1?}, {} gone",
        begin.elapsed(),
        bad.gone()
    );
    let last = Instant::now();
    let grown = Usage::of(gateway.id()).memory.saturating_sub(memory);
    println!(
        "memory for each of the bad: {:.1} KiB",
        grown as f64 / 1024.0 / BAD as f64
    );
    let beside = good.served_for(ROUND).await;
    show("beside them", &beside);
    while bad.gone() < BAD && last.elapsed() < 2 * GONE_WITHIN {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gone = last.elapsed();
    println!("{} of {BAD} gone {gone:.1?} after the last had come", bad.gone());
    show("afterwards", &good.served_for(ROUND).await);
    let times = beside.p99.as_secs_f64() / alone.p99.as_secs_f64();
    println!("p99 is {times:.2} times that of before; the bar is {TIMES}");
    ensure!(alone.unanswered + beside.unanswered == 0, "questions were not answered");
    ensure!(bad.gone() == BAD && gone < GONE_WITHIN, "the bad are not gone in time");
    ensure!(times < TIMES, "the good ones notice");
    Ok(())
}

fn show(when: &str, served: &Served) {
    println!(
        "{GOOD} good ones {when}: {} answers, p50 {:.2?}, p99 {:.2?}, {} unanswered",
        served.answers, served.p50, served.p99, served.unanswered
    );
}
