//! Clients that leave at random and come back with their cursors, while messages go on. Nobody misses any.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{
    Pace,
    stage::{Cast, Stage},
};
use crate::{
    bounds,
    drive::plan::{Grouping, Order},
    options::Options,
    report::Run,
    stop::Stop,
    target::{To, able::Wants},
};

#[derive(Debug, Args)]
pub struct Churn {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub pace: Pace,
    /// Clients
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "2000", help_heading = "Load")]
    pub clients: usize,
    /// Groups, of which each client belongs to one
    #[arg(long, value_parser = bounds::GROUPS.whole::<u32>(), default_value = "40", help_heading = "Load")]
    pub groups: u32,
    /// Clients that leave
    #[arg(long, value_parser = bounds::LEAVE_RATE.number(), default_value = "100", value_name = "PER SECOND", help_heading = "Load")]
    pub leave_rate: f64,
    /// How long each is away
    #[arg(long, value_parser = bounds::PAUSE.time(), value_name = "TIME", default_value = "1s", help_heading = "Load")]
    pub away: Duration,
}

pub async fn run(args: &Churn, stop: &Stop) -> Result<Run> {
    args.pace.check()?;
    let groups = args.groups;
    let cast = Cast {
        scenario: "churn",
        clients: args.clients,
        groups: Grouping { count: groups },
        wants: Wants {
            groups,
            cursors: true,
            ..Wants::default()
        },
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters(args.pace.parameters());
    stage.parameters([
        ("leave rate", args.leave_rate.to_string()),
        ("away", humantime::format_duration(args.away).to_string()),
    ]);
    let away_ms = u64::try_from(args.away.as_millis())?;
    let churn = async |stage: &mut Stage<'_>| {
        stage.ramp().await?;
        stage.senders(args.pace.senders(), groups).await?;
        let leave = |_, workers: usize| Order::Churn {
            rate: args.leave_rate / workers as f64,
            away_ms,
        };
        stage.crew().order(leave).await?;
        let schedule = args
            .pace
            .schedule(move |turn| To::Group((turn % u64::from(groups)) as u32));
        stage.send(schedule, args.pace.duration).await?;
        stage.calm().await?;
        stage.settle().await
    };
    stage.play(churn).await
}
