//! Connections that do nothing: what one costs to make, in memory, and at rest.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::stage::{Cast, Stage};
use crate::{bounds, drive::plan::Grouping, options::Options, report::Run, stop::Stop, target::able::Wants};

#[derive(Debug, Args)]
pub struct Idle {
    #[command(flatten)]
    pub options: Options,
    /// Clients
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "10000", help_heading = "Load")]
    pub clients: usize,
    /// Groups, of which each client belongs to one
    #[arg(long, value_parser = bounds::GROUPS_OR_NONE.whole::<u32>(), default_value = "200", help_heading = "Load")]
    pub groups: u32,
    /// How long they rest: more than one ping interval (25 s)
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "60s", help_heading = "Load")]
    pub duration: Duration,
}

pub async fn run(args: &Idle, stop: &Stop) -> Result<Run> {
    let cast = Cast {
        scenario: "idle",
        clients: args.clients,
        groups: Grouping { count: args.groups },
        // Nothing is sent to the groups.
        wants: Wants::default(),
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters([("duration", humantime::format_duration(args.duration).to_string())]);
    let idle = async |stage: &mut Stage<'_>| {
        stage.ramp().await?;
        stage.rest(args.duration).await
    };
    stage.play(idle).await
}
