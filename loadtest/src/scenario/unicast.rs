//! One-to-one messages to clients that are all there.

use anyhow::Result;
use clap::Args;
use rand::Rng;

use super::{Pace, stage::Stage};
use crate::{drive::plan::Grouping, options::Options, report::Run, target::To};

#[derive(Debug, Args)]
pub struct Unicast {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub pace: Pace,
    /// Clients; each message goes to one, at random
    #[arg(long, default_value_t = 1_000, help_heading = "Load")]
    pub clients: usize,
}

pub async fn run(args: &Unicast) -> Result<Run> {
    let mut stage = Stage::open("unicast", &args.options, args.clients, Grouping::NONE).await?;
    stage.parameters(args.pace.parameters());
    stage.ramp().await?;
    stage.senders(args.pace.senders(), 0).await?;
    let clients = args.clients;
    let schedule = args
        .pace
        .schedule(move |_| To::User(rand::rng().random_range(0..clients)));
    stage.send(schedule, args.pace.duration).await?;
    stage.settle().await?;
    stage.finish().await
}
