//! Everybody is cut off at once, as when a gateway dies, and comes back with a cursor, while messages go on. Nobody misses
//! any.

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
pub struct Storm {
    #[command(flatten)]
    pub options: Options,
    /// Clients
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "10000", help_heading = "Load")]
    pub clients: usize,
    /// Groups, of which each client belongs to one
    #[arg(long, value_parser = bounds::GROUPS.whole::<u32>(), default_value = "200", help_heading = "Load")]
    pub groups: u32,
    /// Messages a second, to the groups in turn
    #[arg(long, value_parser = bounds::RATE.number(), default_value = "20", help_heading = "Load")]
    pub rate: f64,
    /// How long messages are sent; the storm comes after the first third
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "15s", help_heading = "Load")]
    pub duration: Duration,
    /// Clients come back within this
    #[arg(long, value_parser = bounds::PAUSE.time(), value_name = "TIME", default_value = "1s", help_heading = "Load")]
    pub jitter: Duration,
}

pub async fn run(args: &Storm, stop: &Stop) -> Result<Run> {
    let pace = Pace::steady(args.rate, args.duration);
    pace.check()?;
    let cast = Cast {
        scenario: "storm",
        clients: args.clients,
        groups: Grouping { count: args.groups },
        wants: Wants {
            groups: args.groups,
            cursors: true,
            ..Wants::default()
        },
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters(pace.parameters());
    stage.parameters([("jitter", humantime::format_duration(args.jitter).to_string())]);
    stage
        .play(async |stage: &mut Stage<'_>| weather(stage, args, &pace).await)
        .await
}

async fn weather(stage: &mut Stage<'_>, args: &Storm, pace: &Pace) -> Result<()> {
    let groups = u64::from(args.groups);
    stage.ramp().await?;
    stage.senders(pace.senders(), args.groups).await?;
    let group = move |turn: u64| To::Group((turn % groups) as u32);
    let third = Pace::steady(args.rate, args.duration / 3);
    stage.send(third.schedule(group), third.duration).await?;
    let before = stage.read().await;
    stage.moment("storm");
    let rest = Pace::steady(args.rate, args.duration * 2 / 3);
    let storm = async |crew: &mut _| Stage::storm(crew, args.jitter).await;
    let (late, seconds) = stage.send_while(rest.schedule(group), rest.duration, storm).await?;
    stage.late(late, "did not come back");
    stage.figure("back_after_seconds", seconds);
    stage.settle().await?;
    let after = stage.read().await;
    if after.readings.len() > 1 {
        let cpu = after.servers_cpu_us(&before) / args.clients as f64;
        stage.figure("cpu_us_per_reconnect", cpu);
    }
    Ok(())
}
