//! What TLS costs a gateway: memory of an idle WebSocket, CPU for each connect and for each delivery, beside the same
//! without TLS.
//!
//!     cargo build --release && cargo run --release -p herald-tests --bin bench-tls
//!
//! Needs room for some thousands of open files (`ulimit -n`).
#![allow(clippy::print_stdout)]

use std::time::Duration;

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    gateway::{dev_gateway_with, file},
    process::Node,
    tls::{Authority, Trusting},
    token,
    usage::Usage,
};
use serde_json::json;

const IDLE: usize = 2_000;
const MEMBERS: usize = 200;
const MESSAGES: usize = 500;
/// Memory is looked at when what the connects needed has been given back.
const SETTLE: Duration = Duration::from_secs(8);

struct Costs {
    idle: f64,
    connect: Duration,
    delivery: f64,
}

#[tokio::main]
async fn main() {
    println!("         idle connection  CPU of a connect  CPU of a delivery");
    let authority = Authority::new();
    authority.install(&authority.signs(1));
    let trusting = authority.trusted(&["http/1.1"]);
    let tls = file(&format!("[public.tls]\n{}", authority.settings()));
    let path = tls.path().to_str().expect("UTF-8");
    for (name, more, trusting) in [
        ("plain", &[][..], None),
        ("TLS", &["--config", path][..], Some(&trusting)),
    ] {
        let costs = measure(more, trusting).await;
        println!(
            "{name:<8} {:>11.1} KiB  {:>13.0} µs  {:>14.1} µs",
            costs.idle,
            costs.connect.as_secs_f64() * 1e6,
            costs.delivery
        );
    }
}

async fn measure(more: &[&str], trusting: Option<&Trusting>) -> Costs {
    let gateway = dev_gateway_with(more).await;
    // The first ones warm up.
    drop(connect(&gateway, trusting, "warm", 50, "").await);
    let before = Usage::of(gateway.id());
    let idle = connect(&gateway, trusting, "idle", IDLE, "").await;
    let connected = Usage::of(gateway.id());
    tokio::time::sleep(SETTLE).await;
    let settled = Usage::of(gateway.id());
    drop(idle);
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let (memory, deliveries) = (
        settled.memory.saturating_sub(before.memory) as f64,
        (MEMBERS * MESSAGES) as f64,
    );
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let costs = Costs {
        idle: memory / 1024.0 / IDLE as f64,
        connect: (connected.cpu - before.cpu) / IDLE as u32,
        delivery: fan_out(&gateway, trusting).await.as_secs_f64() * 1e6 / deliveries,
    };
    costs
}

async fn connect(gateway: &Node, trusting: Option<&Trusting>, name: &str, count: usize, group: &str) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for i in 0..count {
        let groups = if group.is_empty() { json!([]) } else { json!([group]) };
        let token = token::dev_with(&format!("{name}-{i}"), &json!({"groups": groups}));
        let mut upgrade = Upgrade::to(gateway.public()).dialect(Dialect::Json);
        if let Some(trusting) = trusting {
            upgrade = upgrade.tls(trusting);
        }
        clients.push(upgrade.query("token", &token).connect().await);
    }
    clients
}

/// CPU of the gateway while a group gets messages, at the pace of the sender's answers.
async fn fan_out(gateway: &Node, trusting: Option<&Trusting>) -> Duration {
    let members = connect(gateway, trusting, "member", MEMBERS, "big").await;
    let mut sender = connect(gateway, trusting, "sender", 1, "big").await;
    let before = Usage::of(gateway.id()).cpu;
    let readers: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            tokio::spawn(async move {
                member.messages(MESSAGES).await;
            })
        })
        .collect();
    for n in 0..MESSAGES {
        sender[0].say(json!({"group": "big"}), json!(n)).await;
    }
    for reader in readers {
        reader.await.expect("all came");
    }
    Usage::of(gateway.id()).cpu - before
}
