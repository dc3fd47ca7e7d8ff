//! 10,000 connections that are half open, silent, send a byte a second or garbage, beside 1,000 clients that behave: how
//! much later those are answered, and when the bad ones are gone.
//!
//!     cargo build --release && cargo run --release -p herald-tests --bin bench-neighbours
#![allow(clippy::print_stdout)]

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use herald_tests::{
    gateway::{Config, SECRET},
    neighbours::{Bad, Good, Served},
    token,
    usage::Usage,
};
use tokio::time::sleep;

const GOOD: usize = 1_000;
const BAD: usize = 10_000;
const ROUND: Duration = Duration::from_secs(6);
/// With the bad ones and without them in turn; the medians of the percentiles count.
const ROUNDS: usize = 3;
/// Heads, first bodies and first frames have 10 s; what is left is for the goodbyes.
const GONE_WITHIN: Duration = Duration::from_secs(15);
const TIMES: f64 = 3.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(address) = std::env::args().nth(1) {
        return bad(address.parse()?).await;
    }
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
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = good.served_for(ROUND).await;
        show("alone", &alone);
        let before = Usage::of(gateway.id());
        // A process of their own, which gives way: what they cost the server is to be seen, not what they cost here.
        let mut neighbours = Command::new("nice")
            .args(["-n", "5"])
            .arg(std::env::current_exe()?)
            .arg(gateway.public().to_string())
            .stdin(Stdio::null())
            .spawn()
            .context("nice")?;
        sleep(Duration::from_secs(1)).await;
        let beside = good.served_for(ROUND).await;
        show("beside the bad", &beside);
        let usage = Usage::of(gateway.id());
        let memory = usage.memory.saturating_sub(before.memory) as f64 / 1024.0 / BAD as f64;
        println!("for each of the bad: {memory:.1} KiB");
        let ended = tokio::task::spawn_blocking(move || neighbours.wait()).await??;
        ensure!(ended.success(), "the bad are not gone in time");
        ensure!(alone.unanswered + beside.unanswered == 0, "questions were not answered");
        without.push(alone.p99);
        with.push(beside.p99);
    }
    without.sort();
    with.sort();
    let (without, with) = (without[ROUNDS / 2], with[ROUNDS / 2]);
    let times = with.as_secs_f64() / without.as_secs_f64();
    println!("p99 {with:.2?} beside the bad, {without:.2?} without: {times:.2} times; the bar is {TIMES}");
    ensure!(times < TIMES, "the good ones notice");
    Ok(())
}

async fn bad(address: SocketAddr) -> anyhow::Result<()> {
    let begin = Instant::now();
    let bad = Bad::connect(address, BAD).await;
    let (took, last) = (begin.elapsed(), Instant::now());
    while bad.gone() < BAD && last.elapsed() < GONE_WITHIN {
        sleep(Duration::from_millis(50)).await;
    }
    println!(
        "{BAD} bad ones came in {took:.1?}; {} are gone {:.1?} later",
        bad.gone(),
        last.elapsed()
    );
    ensure!(bad.gone() == BAD, "{} stay", BAD - bad.gone());
    Ok(())
}

fn show(when: &str, served: &Served) {
    println!(
        "{GOOD} good ones {when}: {} answers, p50 {:.2?}, p99 {:.2?}, {} unanswered",
        served.answers, served.p50, served.p99, served.unanswered
    );
}
