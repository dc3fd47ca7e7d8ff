//! Messages to everybody who is there.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{Pace, stage::Stage};
use crate::{drive::plan::Grouping, options::Options, report::Run, target::To};

#[derive(Debug, Args)]
pub struct Broadcast {
    #[command(flatten)]
    pub options: Options,
    /// Clients
    #[arg(long, default_value_t = 5_000, help_heading = "Load")]
    pub clients: usize,
    /// Messages a second
    #[arg(long, default_value_t = 5.0, help_heading = "Load")]
    pub rate: f64,
    /// How long messages are sent
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s", help_heading = "Load")]
    pub duration: Duration,
}

pub async fn run(args: &Broadcast) -> Result<Run> {
    let pace = Pace {
        rate: args.rate,
        burst: 1,
        duration: args.duration,
        flat_out: None,
    };
    let mut stage = Stage::open("broadcast", &args.options, args.clients, Grouping::NONE).await?;
    stage.parameters(pace.parameters());
    stage.ramp().await?;
    stage.senders(1, 0).await?;
    stage.send(pace.schedule(|_| To::All), args.duration).await?;
    stage.settle().await?;
    stage.finish().await
}
