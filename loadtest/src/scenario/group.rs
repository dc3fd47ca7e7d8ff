//! Groups of members that are all there; each message goes to one group, in turn.

use anyhow::{Context, Result};
use clap::Args;

use super::{Pace, stage::Stage};
use crate::{drive::plan::Grouping, options::Options, report::Run, target::To};

#[derive(Debug, Args)]
pub struct Group {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub pace: Pace,
    /// Groups
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub groups: u32,
    /// Members of each. Over sockets the sender is one more
    #[arg(long, default_value_t = 1_000, help_heading = "Load")]
    pub members: usize,
}

pub async fn run(args: &Group) -> Result<Run> {
    let groups = args.groups.max(1);
    let clients = args.members.checked_mul(groups as usize).context("fewer clients")?;
    let mut stage = Stage::open("group", &args.options, clients, Grouping { count: groups }).await?;
    stage.parameters(args.pace.parameters());
    stage.ramp().await?;
    stage.senders(args.pace.senders().min(groups as usize), groups).await?;
    let schedule = args
        .pace
        .schedule(move |turn| To::Group((turn % u64::from(groups)) as u32));
    stage.send(schedule, args.pace.duration).await?;
    stage.settle().await?;
    stage.finish().await
}
