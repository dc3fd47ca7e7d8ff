//! Connections that do nothing: what one costs to make, in memory, and at rest.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::stage::Stage;
use crate::{drive::plan::Grouping, options::Options, report::Run};

#[derive(Debug, Args)]
pub struct Idle {
    #[command(flatten)]
    pub options: Options,
    /// Clients
    #[arg(long, default_value_t = 10_000, help_heading = "Load")]
    pub clients: usize,
    /// Groups, of which each client belongs to one
    #[arg(long, default_value_t = 200, help_heading = "Load")]
    pub groups: u32,
    /// How long they rest: more than one ping interval (25 s)
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s", help_heading = "Load")]
    pub duration: Duration,
}

pub async fn run(args: &Idle) -> Result<Run> {
    let groups = Grouping { count: args.groups };
    let mut stage = Stage::open("idle", &args.options, args.clients, groups).await?;
    stage.parameters([("duration", humantime::format_duration(args.duration).to_string())]);
    stage.ramp().await?;
    stage.rest(args.duration).await?;
    stage.finish().await
}
