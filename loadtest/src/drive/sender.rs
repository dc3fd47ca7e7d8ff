//! Those who send: each a client with a connection of its own, or one that posts to the application's interface.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{
    board::Board,
    client::{Memory, World},
    fleet,
    pacer::{self, Due, Handed, Job},
    plan::Settled,
};
use crate::{
    clock,
    measure::latency::Recorder,
    stamp::Stream,
    target::{Server, Who},
};

mod api;
mod patient;
mod socket;

/// Messages that wait for one sender; then the schedule waits, and latency goes on counting.
const QUEUE: usize = 4096;
/// A schedule that is stopped ends within this, or hangs at a sender that takes nothing.
const ENDING: Duration = Duration::from_secs(1);
/// Answers that have not come after this long a silence do not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How senders reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Over connections like all others.
    Socket,
    /// The same, but through faults of the cluster.
    Patient,
    /// Over HTTP, to [`Server::api`].
    Api,
}

impl Via {
    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Patient => "patient",
            Self::Api => "api",
        }
    }
}

pub struct Senders {
    queues: Vec<mpsc::Sender<Job>>,
    memories: Vec<Arc<Memory>>,
    world: Arc<World>,
    stats: Arc<Stats>,
    via: Via,
    run: u32,
    /// The schedules' threads.
    pacing: TaskTracker,
}

/// What senders write down.
#[derive(Default)]
pub struct Stats {
    /// By the schedule.
    pub handed: Handed,
    pub written: AtomicU64,
    pub answered: AtomicU64,
    pub refused: AtomicU64,
    /// From the intended time until it was written: what the load test itself is late.
    pub lag: Recorder,
    /// From the intended time to the answer.
    pub answer: Recorder,
    /// What was handed out by the end of each second, on [`clock`].
    pub seconds: Mutex<Vec<(u64, u64)>>,
}

impl Stats {
    fn tick(&self) {
        let handed = self.handed.messages.load(Relaxed);
        self.seconds.lock().push((clock::now(), handed));
    }
}

async fn tick(stats: Arc<Stats>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        stats.tick();
    }
}

impl Senders {
    /// `groups`: of each sender.
    pub async fn start(server: &Server, via: Via, groups: Vec<Vec<u32>>, size: usize, sources: u32) -> Result<Self> {
        let world = Arc::new(World {
            peer: server.peer(via == Via::Api),
            server: server.clone(),
            sources,
            board: Board::default(),
        });
        let mut senders = Self {
            queues: Vec::new(),
            memories: Vec::new(),
            world,
            stats: Arc::default(),
            via,
            run: server.run,
            pacing: TaskTracker::new(),
        };
        for (index, groups) in groups.into_iter().enumerate() {
            let (queue, jobs) = mpsc::channel(QUEUE);
            senders.queues.push(queue);
            match via {
                Via::Socket | Via::Patient => {
                    let memory = Arc::new(Memory::new(Who {
                        number: Who::SENDERS + index,
                        groups,
                    }));
                    senders.memories.push(Arc::clone(&memory));
                    let (world, stats) = (Arc::clone(&senders.world), Arc::clone(&senders.stats));
                    if via == Via::Patient {
                        patient::start(world, stats, memory, jobs, size).await?;
                    } else {
                        socket::start(world, stats, memory, jobs, size).await?;
                    }
                }
                Via::Api => api::start(
                    Arc::clone(&senders.world),
                    Arc::clone(&senders.stats),
                    index,
                    jobs,
                    size,
                )?,
            }
        }
        Ok(senders)
    }

    pub fn board(&self) -> &Board {
        &self.world.board
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Sends by a schedule, and waits for the answers. Where this is dropped, [`Senders::stop`] ends it.
    pub async fn send(&self, schedule: impl Iterator<Item = Due> + Send + 'static) -> Result<()> {
        let (queues, stats, run) = (self.queues.clone(), Arc::clone(&self.stats), self.run);
        let ticking = AbortOnDropHandle::new(tokio::spawn(tick(Arc::clone(&self.stats))));
        let pacing = move || pacer::run(run, schedule, &queues, &stats.handed);
        self.pacing.spawn_blocking(pacing).await?;
        self.answered().await;
        drop(ticking);
        self.stats.tick();
        Ok(())
    }

    /// Nothing more is sent. Waits for the answers to what was.
    pub async fn stop(&self) {
        self.stats.handed.stopped.store(true, Relaxed);
        self.pacing.close();
        if timeout(ENDING, self.pacing.wait()).await.is_ok() {
            self.answered().await;
        }
        self.stats.tick();
    }

    /// What was sent of each stream in all.
    pub fn sent(&self) -> BTreeMap<Stream, u64> {
        self.stats.handed.streams.lock().clone()
    }

    /// Until all are written, and answered where that is usual; or nothing moves any more.
    async fn answered(&self) {
        let stats = &self.stats;
        let answers = self.via == Via::Api || self.world.peer.answers();
        let done = || {
            let done = if answers { &stats.answered } else { &stats.written };
            done.load(Relaxed) + stats.refused.load(Relaxed)
        };
        let (mut before, mut last) = (done(), Instant::now());
        while done() < stats.handed.messages.load(Relaxed) && last.elapsed() < PATIENCE {
            sleep(Duration::from_millis(5)).await;
            if done() != before {
                (before, last) = (done(), Instant::now());
            }
        }
    }

    pub fn unanswered(&self) -> u64 {
        let stats = &self.stats;
        let answers = self.via == Via::Api || self.world.peer.answers();
        let done = if answers { &stats.answered } else { &stats.written };
        let done = done.load(Relaxed) + stats.refused.load(Relaxed);
        stats.handed.messages.load(Relaxed).saturating_sub(done)
    }

    pub async fn settle(&self, sent: &BTreeMap<Stream, u64>, quiet: Duration) -> Settled {
        let settled = fleet::settle(&self.world.board, self.memories.iter(), sent, quiet).await;
        Settled {
            rest: self.world.board.tick(),
            ..settled
        }
    }
}
