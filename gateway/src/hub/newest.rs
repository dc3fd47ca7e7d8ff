//! "What is newer?", for many connections at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use herald_proto::{LogId, Target};
use herald_router::bus::{Bounds, Bus, BusError};

use crate::batch::{Batcher, Limits};

/// Connections whose questions are put together, each with a handful of targets.
const TOGETHER: usize = 256;

/// One connection's question.
pub(super) struct Question {
    pub targets: Vec<Target>,
    pub after: u64,
    /// Whether it must be known what the log still has.
    pub bounds: bool,
}

/// What the log had at one moment.
#[derive(Debug)]
pub(super) struct Newest {
    pub log: LogId,
    pub after: u64,
    /// The newest message of each target, where there is one after what was asked for.
    pub sequences: HashMap<Target, u64>,
    pub upto: u64,
    /// If somebody asked.
    pub bounds: Option<Bounds>,
}

pub(super) type Answer = Result<Arc<Newest>, BusError>;
pub(super) type Newests = Batcher<Question, Answer>;

pub(super) fn batcher() -> Newests {
    Batcher::new(Limits::spaced(TOGETHER, 1), |_| 1)
}

pub(super) async fn answer(bus: Bus, questions: Vec<Question>) -> Vec<Answer> {
    let count = questions.len();
    let newest = ask(&bus, questions).await.map(Arc::new);
    vec![newest; count]
}

async fn ask(bus: &Bus, questions: Vec<Question>) -> Result<Newest, BusError> {
    let log = bus.log.id().borrow().clone();
    let log = log.ok_or_else(|| BusError::Unavailable("the log was never reached".to_owned()))?;
    let after = questions.iter().map(|question| question.after).min().unwrap_or(0);
    let bounds = questions.iter().any(|question| question.bounds);
    let targets: HashSet<Target> = questions.into_iter().flat_map(|question| question.targets).collect();
    let targets: Vec<Target> = targets.into_iter().collect();
    let newer = bus.log.newer(&targets, after).await?;
    // Asked last, so that nothing is trimmed unnoticed between the two.
    let bounds = if bounds { Some(bus.log.bounds().await?) } else { None };
    Ok(Newest {
        log,
        after,
        sequences: newer.targets.into_iter().collect(),
        upto: newer.upto,
        bounds,
    })
}
