//! Groups of members that are all there; each message goes to one group, in turn.

use anyhow::{Context, Result};
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
pub struct Group {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub pace: Pace,
    /// Groups
    #[arg(long, value_parser = bounds::GROUPS.whole::<u32>(), default_value = "1", help_heading = "Load")]
    pub groups: u32,
    /// Members of each. Over sockets the sender is one more
    #[arg(long, value_parser = bounds::MEMBERS.whole::<usize>(), default_value = "1000", help_heading = "Load")]
    pub members: usize,
}

pub async fn run(args: &Group, stop: &Stop) -> Result<Run> {
    args.pace.check()?;
    let groups = args.groups;
    let clients = args.members.saturating_mul(groups as usize);
    bounds::CLIENTS
        .check(clients as f64)
        .context("--groups times --members")?;
    let cast = Cast {
        scenario: "group",
        clients,
        groups: Grouping { count: groups },
        wants: Wants {
            groups,
            ..Wants::default()
        },
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters(args.pace.parameters());
    let group = async |stage: &mut Stage<'_>| {
        stage.ramp().await?;
        stage.senders(args.pace.senders().min(groups as usize), groups).await?;
        let schedule = args
            .pace
            .schedule(move |turn| To::Group((turn % u64::from(groups)) as u32));
        stage.send(schedule, args.pace.duration).await?;
        stage.settle().await
    };
    stage.play(group).await
}
