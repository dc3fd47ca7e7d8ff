//! A rolling restart of 3 gateways and 2 routers, over 3 NATS servers and behind haproxy, under 2,000 clients with cursors that
//! exchange 500 durable messages a second. The bars: nothing lost, doubled or out of order, no gap; nobody without a
//! connection for more than 3 s; closes spread over the drain window.
//!
//!     cargo build --release --workspace --bins && cargo run --release -p herald-tests --bin bench-rolling-restart [clients]
#![allow(clippy::print_stdout)]

use std::{env, process::ExitCode, time::Duration};

use herald_tests::{
    presence::told,
    restarts::{Plan, run},
};

#[tokio::main]
async fn main() -> ExitCode {
    let clients = env::args()
        .nth(1)
        .map_or(2_000, |count| count.parse().expect("a number of clients"));
    let plan = Plan {
        gateways: 3,
        routers: 2,
        clients,
        rate: 500,
        drain: Duration::from_secs(20),
    };
    let outcome = run(plan).await;
    let messages = &outcome.messages;
    println!(
        "sent {}, received {}, repeated {}, retries {}, reconnects {}",
        messages.sent, messages.received, messages.repeated, messages.retries, messages.reconnects
    );
    let mut held = Vec::new();
    for (i, window) in outcome.windows.iter().enumerate() {
        print!("closes of gateway {i}\n{}", window.histogram(plan.drain));
        held.push(told(
            "fullest tenth of the window, of an even share",
            window.peak(),
            2.0,
        ));
    }
    let longest = outcome.longest.as_secs_f64();
    held.push(told("longest time without a connection, in seconds", longest, 3.0));
    for (name, figure) in [
        ("lost", messages.lost),
        ("out of order", messages.out_of_order),
        ("doubled", messages.doubled),
        ("gaps told", messages.gaps),
        ("never sent", messages.unsent),
    ] {
        held.push(told(name, figure as f64, 0.0));
    }
    if held.iter().all(|held| *held) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
