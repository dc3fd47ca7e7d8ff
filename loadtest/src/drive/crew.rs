//! All workers of a run together: one within this process, or several child processes.

use std::{process::Stdio, sync::Arc};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, duplex},
    process::{Child, Command},
    sync::mpsc,
};

use super::{
    plan::{Event, Order, Plan, Settled, Tick},
    worker::{line, work},
};

/// More in one process come too near to its file descriptors.
pub const CLIENTS_PER_PROCESS: usize = 15_000;
/// Of a pipe within this process.
const PIPE: usize = 64 << 10;

pub struct Crew {
    workers: Vec<Worker>,
    /// What all workers have told, each with the worker's number.
    pub ticks: Arc<Mutex<Vec<(usize, Tick)>>>,
}

struct Worker {
    orders: Box<dyn AsyncWrite + Send + Unpin>,
    events: mpsc::Receiver<Event>,
    /// Ends with this.
    child: Option<Child>,
}

impl Crew {
    /// Splits the plan on `processes`; one works within this process.
    pub async fn start(plan: &Plan, processes: usize) -> Result<Self> {
        let ticks = Arc::default();
        let mut workers = Vec::new();
        for first in 0..processes {
            let share = Plan {
                first,
                step: processes,
                clients: (plan.clients + processes - 1 - first) / processes,
                ..plan.clone()
            };
            if share.clients > CLIENTS_PER_PROCESS {
                bail!("{} clients need more than {processes} processes", plan.clients);
            }
            let mut worker = if processes == 1 {
                Worker::within(Arc::clone(&ticks))
            } else {
                Worker::child(first, Arc::clone(&ticks))?
            };
            worker.orders.write_all(&line(&share)?).await?;
            workers.push(worker);
        }
        Ok(Self { workers, ticks })
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
        self.workers
            .iter()
            .filter_map(|worker| worker.child.as_ref()?.id())
            .collect()
    }

    /// Gives each worker its share of an order, and waits until all have carried it out. How many clients did not come.
    pub async fn order(&mut self, share: impl Fn(usize, usize) -> Order) -> Result<u64> {
        let mut late = 0;
        for event in self.tell(share).await? {
            match event {
                Event::Done { late: more } => late += more,
                other => bail!("a worker answered with {other:?}"),
            }
        }
        Ok(late)
    }

    pub async fn settle(&mut self, order: Order) -> Result<Vec<Settled>> {
        let mut all = Vec::new();
        for (number, event) in self.tell(|_, _| order.clone()).await?.into_iter().enumerate() {
            match event {
                Event::Settled(settled) => {
                    self.ticks.lock().push((number, settled.rest.clone()));
                    all.push(settled);
                }
                other => bail!("a worker answered with {other:?}"),
            }
        }
        Ok(all)
    }

    async fn tell(&mut self, share: impl Fn(usize, usize) -> Order) -> Result<Vec<Event>> {
        let workers = self.workers.len();
        for (number, worker) in self.workers.iter_mut().enumerate() {
            worker.orders.write_all(&line(&share(number, workers))?).await?;
            worker.orders.flush().await?;
        }
        let mut events = Vec::new();
        for worker in &mut self.workers {
            events.push(worker.events.recv().await.context("a worker has ended too soon")?);
        }
        Ok(events)
    }

    pub async fn end(mut self) -> Result<()> {
        for worker in &mut self.workers {
            worker.orders.write_all(&line(&Order::End)?).await?;
            worker.orders.flush().await?;
        }
        for mut worker in self.workers {
            while worker.events.recv().await.is_some() {}
            if let Some(mut child) = worker.child {
                let status = child.wait().await?;
                if !status.success() {
                    bail!("a worker ended with {status}");
                }
            }
        }
        Ok(())
    }
}

impl Worker {
    fn within(ticks: Arc<Mutex<Vec<(usize, Tick)>>>) -> Self {
        let (orders, theirs) = duplex(PIPE);
        let (events, told) = duplex(PIPE);
        tokio::spawn(async move {
            if let Err(error) = work(theirs, told).await {
                eprintln!("the worker failed: {error:#}");
            }
        });
        Self {
            orders: Box::new(orders),
            events: listen(0, events, ticks),
            child: None,
        }
    }

    fn child(number: usize, ticks: Arc<Mutex<Vec<(usize, Tick)>>>) -> Result<Self> {
        let me = std::env::current_exe().context("the path of this program")?;
        let mut child = Command::new(me)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("a child process")?;
        let orders = child.stdin.take().context("a pipe to the child")?;
        let events = child.stdout.take().context("a pipe from the child")?;
        Ok(Self {
            orders: Box::new(orders),
            events: listen(number, events, ticks),
            child: Some(child),
        })
    }
}

/// Puts ticks aside and hands answers on.
fn listen(
    number: usize,
    events: impl AsyncRead + Send + Unpin + 'static,
    ticks: Arc<Mutex<Vec<(usize, Tick)>>>,
) -> mpsc::Receiver<Event> {
    let (answered, answers) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut lines = BufReader::new(events).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            match serde_json::from_str(&text) {
                Ok(Event::Tick(tick)) => ticks.lock().push((number, tick)),
                Ok(event) => {
                    if answered.send(event).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    eprintln!("a worker wrote what is no event: {error}");
                    return;
                }
            }
        }
    });
    answers
}
