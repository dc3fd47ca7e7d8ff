//! A whole cluster in network namespaces, broken on purpose: three NATS servers, two routers and three gateways, a nemesis that
//! follows a seed, clients that record all they sent and were given, and a checker over their records.
//!
//! Nothing is broken by the clock: no clock jumps.

use std::{path::PathBuf, time::Duration};

use herald_proto::limits;
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

mod check;
mod client;
mod member;
mod nemesis;
mod net;
mod place;
mod process;
mod truth;
mod world;

pub use check::Verdict;
pub use place::Place;

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// How long the nemesis works.
    pub length: Duration,
    /// Where the nodes' logs of a run with violations are put.
    pub logs: PathBuf,
}

/// What one seed came to.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    /// What was done, and when.
    pub faults: Vec<String>,
    pub verdict: Verdict,
    /// From the end of all faults until everybody had been given everything, and until presence was right; and until it was right again
    /// after half of the clients had left.
    pub delivered: Option<Duration>,
    pub present: Option<Duration>,
    pub left: Option<Duration>,
}

/// How long after the last fault all must be well.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// How long after the last client has come, or gone, presence must be right: as long as a lease, and what asking takes.
const PRESENT_WITHIN: Duration = limits::LEASE.saturating_add(Duration::from_secs(2));

/// Must run in a network and a mount namespace of its own, which `tests/chaos` makes.
pub async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let faults = nemesis::plan(&mut rng, plan.length);
    let mut world = world::World::start(plan.seed).await?;
    let clients = client::start().await;
    let members = member::start();
    let begun = Instant::now();
    let done = nemesis::work(&faults, &mut world, begun).await;
    world.heal().await;
    let healed = Instant::now();
    let end = healed + HEALED_WITHIN;
    clients.no_more_to_send();
    let memberships = members.end(end).await;
    let records = clients.records(end).await;
    let delivered = records.complete.map(|at| at.saturating_duration_since(healed));
    let due = records.complete.map_or(end, |all_back| all_back + PRESENT_WITHIN);
    let present = truth::until_right(&records.online(), due).await;
    let present = present.map(|at| at.saturating_duration_since(healed));
    let halved = records.halve();
    let halved_at = Instant::now();
    let left = truth::until_right(&halved, halved_at + PRESENT_WITHIN).await;
    let left = left.map(|at| at.saturating_duration_since(halved_at));
    let mut verdict = check::judge(&records.told, &records.faults);
    verdict.memberships = truth::wrong_memberships(&memberships).await;
    verdict.presence = usize::from(present.is_none()) + usize::from(left.is_none());
    if !verdict.is_good() {
        world.keep_logs(&plan.logs.join(plan.seed.to_string()))?;
    }
    Ok(Outcome {
        seed: plan.seed,
        faults: done,
        verdict,
        delivered,
        present,
        left,
    })
}
