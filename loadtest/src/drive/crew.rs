//! All workers of a run together: one within this process, or several child processes.
//!
//! Each order is answered once. One that is given up (its future is dropped) is ended in the worker by the next, and its
//! answer is passed over then.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    plan::{Event, Order, Plan, Settled, Tick},
    worker::line,
};

mod member;

use member::Worker;

/// More in one process come too near to its file descriptors.
pub const CLIENTS_PER_PROCESS: usize = 15_000;
/// For a worker that was told to end: it only closes connections.
const ENDING: Duration = Duration::from_secs(20);

/// What all workers have told, each with the worker's number.
pub type Ticks = Arc<Mutex<Vec<(usize, Tick)>>>;

pub struct Crew {
    workers: Vec<Worker>,
    pub ticks: Ticks,
    /// Cancelled when one ends.
    ended: CancellationToken,
}

impl Crew {
    /// Splits the plan on `processes`; one works within this process.
    pub async fn start(plan: &Plan, processes: usize) -> Result<Self> {
        let mut crew = Self {
            workers: Vec::new(),
            ticks: Arc::default(),
            ended: CancellationToken::new(),
        };
        if plan.clients.div_ceil(processes) > CLIENTS_PER_PROCESS {
            bail!(
                "--processes {processes} is too few for {} clients: {CLIENTS_PER_PROCESS} each",
                plan.clients
            );
        }
        for first in 0..processes {
            let share = Plan {
                first,
                step: processes,
                clients: (plan.clients + processes - 1 - first) / processes,
                ..plan.clone()
            };
            let (ticks, ended) = (Arc::clone(&crew.ticks), crew.ended.clone());
            let worker = if processes == 1 {
                Worker::within(ticks, ended)
            } else {
                Worker::child(first, ticks, ended)?
            };
            worker.tell(line(&share)?).await;
            crew.workers.push(worker);
        }
        Ok(crew)
    }

    /// How many clients are ready, as of each worker's last tick.
    pub fn open(&self) -> impl Fn() -> u64 + use<> {
        let (ticks, workers) = (Arc::clone(&self.ticks), self.workers.len());
        move || {
            let ticks = ticks.lock();
            // Each worker ticks once a second, so that its last one is among these.
            let recent = ticks.iter().rev().take(3 * workers);
            let mut open = vec![None; workers];
            for (worker, tick) in recent {
                open[*worker].get_or_insert(tick.open);
            }
            open.into_iter().flatten().sum()
        }
    }

    pub fn children(&self) -> Vec<u32> {
        self.workers.iter().filter_map(Worker::id).collect()
    }

    /// Done when a worker has ended, which it should not.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Which worker has ended, and how; it gets no orders any more.
    pub async fn casualty(&mut self) -> Option<String> {
        for worker in &mut self.workers {
            if let Some(fate) = worker.fate().await {
                return Some(fate);
            }
        }
        None
    }

    /// Gives each worker its share of an order, and waits until all have carried it out. How many clients did not come.
    pub async fn order(&mut self, share: impl Fn(usize, usize) -> Order) -> Result<u64> {
        let mut late = 0;
        for (_, event) in self.tell(share).await? {
            match event {
                Event::Done { late: more } => late += more,
                Event::Tick(_) | Event::Settled(_) => bail!("a worker answered what it was not asked"),
            }
        }
        Ok(late)
    }

    pub async fn settle(&mut self, order: Order) -> Result<Vec<Settled>> {
        let mut all = Vec::new();
        for (number, event) in self.tell(|_, _| order.clone()).await? {
            match event {
                Event::Settled(settled) => {
                    self.ticks.lock().push((number, settled.rest.clone()));
                    all.push(settled);
                }
                Event::Tick(_) | Event::Done { .. } => bail!("a worker answered what it was not asked"),
            }
        }
        Ok(all)
    }

    /// The answers of all that are there.
    async fn tell(&mut self, share: impl Fn(usize, usize) -> Order) -> Result<Vec<(usize, Event)>> {
        let workers = self.workers.len();
        let here = || {
            (0..workers)
                .zip(self.workers.iter())
                .filter(|(_, worker)| worker.is_here())
        };
        for (number, worker) in here() {
            worker.order(line(&share(number, workers))?).await;
        }
        let here: Vec<usize> = here().map(|(number, _)| number).collect();
        let mut events = Vec::new();
        for number in here {
            let worker = &mut self.workers[number];
            match worker.answer().await {
                Some(event) => events.push((number, event)),
                None => bail!("{}", worker.fate().await.unwrap_or_else(|| "a worker is silent".into())),
            }
        }
        Ok(events)
    }

    /// All close their connections and end.
    pub async fn end(mut self) -> Result<()> {
        for worker in &self.workers {
            worker.tell(line(&Order::End)?).await;
        }
        for worker in &mut self.workers {
            if timeout(ENDING, worker.end()).await.is_err() {
                bail!("a worker did not end when it was told to");
            }
        }
        Ok(())
    }
}
