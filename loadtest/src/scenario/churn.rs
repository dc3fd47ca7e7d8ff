//! Clients that leave at random and come back with their cursors, while messages go on. Nobody misses any.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{Pace, stage::Stage};
use crate::{
    drive::plan::{Grouping, Order},
    options::Options,
    report::Run,
    target::To,
};

#[derive(Debug, Args)]
pub struct Churn {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub pace: Pace,
    /// Clients
    #[arg(long, default_value_t = 2_000, help_heading = "Load")]
    pub clients: usize,
    /// Groups, of which each client belongs to one
    #[arg(long, default_value_t = 40, help_heading = "Load")]
    pub groups: u32,
    /// Clients that leave
    #[arg(long, default_value_t = 100.0, value_name = "PER SECOND", help_heading = "Load")]
    pub leave_rate: f64,
    /// How long each is away
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1s", help_heading = "Load")]
    pub away: Duration,
}

pub async fn run(args: &Churn) -> Result<Run> {
    let groups = args.groups.max(1);
    let mut stage = Stage::open("churn", &args.options, args.clients, Grouping { count: groups }).await?;
    stage.parameters(args.pace.parameters());
    stage.parameters([
        ("leave rate", args.leave_rate.to_string()),
        ("away", humantime::format_duration(args.away).to_string()),
    ]);
    stage.ramp().await?;
    stage.senders(args.pace.senders(), groups).await?;
    let away_ms = u64::try_from(args.away.as_millis())?;
    let churn = |_, workers: usize| Order::Churn {
        rate: args.leave_rate / workers as f64,
        away_ms,
    };
    stage.crew().order(churn).await?;
    let schedule = args
        .pace
        .schedule(move |turn| To::Group((turn % u64::from(groups)) as u32));
    stage.send(schedule, args.pace.duration).await?;
    let late = stage.crew().order(|_, _| Order::Calm).await?;
    if late > 0 {
        stage.fault(format!("{late} clients did not come back"));
    }
    stage.settle().await?;
    stage.finish().await
}
