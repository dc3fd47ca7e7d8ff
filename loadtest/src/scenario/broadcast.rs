//! Messages to everybody who is there.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{
    Pace,
    stage::{Cast, Stage},
};
use crate::{
    bounds,
    drive::plan::Grouping,
    options::Options,
    report::Run,
    stop::Stop,
    target::{To, able::Wants},
};

#[derive(Debug, Args)]
pub struct Broadcast {
    #[command(flatten)]
    pub options: Options,
    /// Clients
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "5000", help_heading = "Load")]
    pub clients: usize,
    /// Messages a second
    #[arg(long, value_parser = bounds::RATE.number(), default_value = "5", help_heading = "Load")]
    pub rate: f64,
    /// How long messages are sent
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "10s", help_heading = "Load")]
    pub duration: Duration,
}

pub async fn run(args: &Broadcast, stop: &Stop) -> Result<Run> {
    let pace = Pace::steady(args.rate, args.duration);
    pace.check()?;
    let cast = Cast {
        scenario: "broadcast",
        clients: args.clients,
        groups: Grouping::NONE,
        wants: Wants::default(),
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters(pace.parameters());
    let broadcast = async |stage: &mut Stage<'_>| {
        stage.ramp().await?;
        stage.senders(1, 0).await?;
        stage.send(pace.schedule(|_| To::All), args.duration).await?;
        stage.settle().await
    };
    stage.play(broadcast).await
}
