//! What one client that stops reading costs its neighbours: the 99th percentile of delivery latency in a group without
//! and with it, over a `herald-gateway --dev` that this starts. The bar: at most twice.
//!
//!     cargo build --release && cargo run --release -p herald-tests --bin bench-slow-reader
#![allow(clippy::print_stdout)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use herald_tests::{client::Client, gateway::dev_gateway, process::Node, raw::Raw, token};
use serde_json::json;
use tokio::time::interval;

const NEIGHBOURS: usize = 20;
/// Messages in a second, and how many in one run: together with their size more than a kernel's buffers and the
/// outbox hold, so that the slow one is met in all its states: filling, full, thrown out.
const RATE: u32 = 100;
const MESSAGES: usize = 1_000;
const BODY: usize = 8 << 10;
/// Runs of each kind, taken in turn; the median of their percentiles counts.
const ROUNDS: usize = 3;
const BAR: f64 = 2.0;

#[tokio::main]
async fn main() -> ExitCode {
    let gateway = dev_gateway().await;
    // The first run warms up.
    run(&gateway, "warm-up", false).await;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        without.push(run(&gateway, &format!("without-{round}"), false).await);
        with.push(run(&gateway, &format!("with-{round}"), true).await);
    }
    let (without, with) = (median(without), median(with));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!("neighbours' p99 without a slow reader: {without:?}");
    println!("neighbours' p99 with a slow reader:    {with:?}");
    println!(
        "ratio {ratio:.2}, bar {BAR:.2}: {}",
        if ratio <= BAR { "held" } else { "MISSED" }
    );
    if ratio <= BAR {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// One run in a group of its own: the 99th percentile over all neighbours and messages.
async fn run(gateway: &Node, group: &str, slow: bool) -> Duration {
    let started = Instant::now();
    let address = gateway.public();
    let token_of = |user: &str| token::dev_with(user, &json!({"groups": [group]}));
    let mut readers = Vec::new();
    for i in 0..NEIGHBOURS {
        let token = token_of(&format!("{group}-{i}"));
        let mut client = Client::with_token(address, herald_tests::client::Dialect::Json, &token).await;
        readers.push(tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(MESSAGES);
            while latencies.len() < MESSAGES {
                let message = client.next_message().await;
                let sent = message["body"]["at"].as_u64().expect("a time");
                latencies.push(started.elapsed() - Duration::from_nanos(sent));
            }
            latencies
        }));
    }
    let stuck = if slow {
        let path = format!("/ws?token={}", token_of(&format!("{group}-slow")));
        let mut stuck = Raw::narrow(address, &path).await;
        stuck.json().await;
        Some(stuck)
    } else {
        None
    };
    publish(address, &token_of(&format!("{group}-sender")), group, started).await;
    let mut all = Vec::new();
    for reader in readers {
        all.extend(reader.await.expect("every neighbour hears everything"));
    }
    if let Some(mut stuck) = stuck {
        // One that did not listen for seconds may have missed the close frame.
        let code = stuck.end().await;
        println!("{group}: the slow reader was closed with {code:?}");
    }
    all.sort();
    all[all.len() * 99 / 100]
}

async fn publish(address: std::net::SocketAddr, token: &str, group: &str, started: Instant) {
    let mut sender = Client::with_token(address, herald_tests::client::Dialect::Json, token).await;
    let pad = "x".repeat(BODY);
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    for _ in 0..MESSAGES {
        ticks.tick().await;
        let at = u64::try_from(started.elapsed().as_nanos()).expect("a short run");
        let send = json!({"to": {"group": group}, "body": {"at": at, "pad": pad}});
        sender.ask(json!({"send": send}), "sent").await;
        sender.next_message().await;
    }
}
