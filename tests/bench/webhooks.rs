//! Webhooks through an outage: the receiver is down for 30 s under 200 events a second, the router that delivers is killed
//! in the middle of it. Every event must arrive, those of each user in order.
//!
//!     cargo run --release -p herald-tests --bin bench-webhooks
#![allow(clippy::print_stdout)]

use std::time::Duration;

use anyhow::ensure;
use herald_tests::webhook::outage::Outage;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let outage = Outage {
        up: Duration::from_secs(5),
        down: Duration::from_secs(30),
        rate: 200,
    };
    let report = outage.run().await;
    println!("{report:#?}");
    ensure!(report.missing == 0, "events are missing");
    ensure!(report.out_of_order == 0, "events of one user are out of order");
    Ok(())
}
