//! Everybody is cut off at once, as when a gateway dies, and comes back with a cursor, while messages go on. Nobody misses
//! any.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{Pace, stage::Stage};
use crate::{drive::plan::Grouping, options::Options, report::Run, target::To};

#[derive(Debug, Args)]
pub struct Storm {
    #[command(flatten)]
    pub options: Options,
    /// Clients
    #[arg(long, default_value_t = 10_000, help_heading = "Load")]
    pub clients: usize,
    /// Groups, of which each client belongs to one
    #[arg(long, default_value_t = 200, help_heading = "Load")]
    pub groups: u32,
    /// Messages a second, to the groups in turn
    #[arg(long, default_value_t = 20.0, help_heading = "Load")]
    pub rate: f64,
    /// How long messages are sent; the storm comes after the first third
    #[arg(long, value_parser = humantime::parse_duration, default_value = "15s", help_heading = "Load")]
    pub duration: Duration,
    /// Clients come back within this
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1s", help_heading = "Load")]
    pub jitter: Duration,
}

pub async fn run(args: &Storm) -> Result<Run> {
    let groups = args.groups.max(1);
    let pace = Pace {
        rate: args.rate,
        burst: 1,
        duration: args.duration,
        flat_out: None,
    };
    let mut stage = Stage::open("storm", &args.options, args.clients, Grouping { count: groups }).await?;
    stage.parameters(pace.parameters());
    stage.parameters([("jitter", humantime::format_duration(args.jitter).to_string())]);
    stage.ramp().await?;
    stage.senders(pace.senders(), groups).await?;
    let group = move |turn: u64| To::Group((turn % u64::from(groups)) as u32);
    let third = Pace {
        duration: args.duration / 3,
        ..pace.clone()
    };
    stage.send(third.schedule(group), third.duration).await?;
    let before = stage.read().await?;
    stage.moment("storm");
    let rest = Pace {
        duration: args.duration * 2 / 3,
        ..pace
    };
    let storm = async |crew: &mut _| Stage::storm(crew, args.jitter).await;
    let (late, seconds) = stage.send_while(rest.schedule(group), rest.duration, storm).await?;
    if late > 0 {
        stage.fault(format!("{late} clients did not come back"));
    }
    stage.settle().await?;
    let after = stage.read().await?;
    stage.figure("back_after_seconds", seconds);
    if after.readings.len() > 1 {
        stage.figure(
            "cpu_us_per_reconnect",
            after.servers_cpu_us(&before) / args.clients as f64,
        );
    }
    stage.finish().await
}
