//! One-to-one messages to clients that are all there.

use anyhow::Result;
use clap::Args;
use rand::Rng;

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
pub struct Unicast {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub pace: Pace,
    /// Clients; each message goes to one, at random
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "1000", help_heading = "Load")]
    pub clients: usize,
}

pub async fn run(args: &Unicast, stop: &Stop) -> Result<Run> {
    args.pace.check()?;
    let clients = args.clients;
    let cast = Cast {
        scenario: "unicast",
        clients,
        groups: Grouping::NONE,
        wants: Wants {
            users: true,
            ..Wants::default()
        },
    };
    let mut stage = Stage::open(cast, &args.options, stop).await?;
    stage.parameters(args.pace.parameters());
    let unicast = async |stage: &mut Stage<'_>| {
        stage.ramp().await?;
        stage.senders(args.pace.senders(), 0).await?;
        let schedule = args
            .pace
            .schedule(move |_| To::User(rand::rng().random_range(0..clients)));
        stage.send(schedule, args.pace.duration).await?;
        stage.settle().await
    };
    stage.play(unicast).await
}
