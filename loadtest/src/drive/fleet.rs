//! The clients of one worker, and what they do together.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use rand::Rng;
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    board::Board,
    client::{Memory, World, live},
    plan::{Plan, Settled, streams},
};
use crate::{clock, stamp::Stream};

/// An order is given up when nobody has become ready for so long.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);
/// Clients named of those that missed something.
const EXAMPLES: usize = 5;

pub struct Fleet {
    world: Arc<World>,
    dial: Arc<Semaphore>,
    clients: Vec<Client>,
    churn: Mutex<Option<JoinHandle<()>>>,
}

struct Client {
    memory: Arc<Memory>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// How a client begins.
#[derive(Clone, Copy)]
enum Begin {
    /// When it is its turn: so many at once as the plan says.
    InTurn,
    /// After a pause, whatever the others do.
    After(Duration),
}

impl Fleet {
    pub fn new(plan: &Plan) -> Arc<Self> {
        let world = World {
            peer: plan.server.peer(false),
            server: plan.server.clone(),
            sources: plan.sources,
            board: Board::default(),
        };
        let clients = (0..plan.clients).map(|index| Client {
            memory: Arc::new(Memory::new(plan.who(index))),
            task: Mutex::default(),
        });
        Arc::new(Self {
            world: Arc::new(world),
            dial: Arc::new(Semaphore::new(plan.dial)),
            clients: clients.collect(),
            churn: Mutex::default(),
        })
    }

    pub fn board(&self) -> &Board {
        &self.world.board
    }

    /// Starts those that are missing of the first `wanted`, and ends those beyond. How many did not become ready.
    pub async fn population(&self, wanted: usize, rate: Option<f64>) -> u64 {
        let wanted = wanted.min(self.clients.len());
        for client in &self.clients[wanted..] {
            client.leave().await;
        }
        let start = Instant::now();
        let missing = self.clients[..wanted].iter().filter(|client| client.is_away());
        for (turn, client) in missing.enumerate() {
            if let Some(rate) = rate {
                sleep_until(start + Duration::from_secs_f64(turn as f64 / rate)).await;
            }
            self.start(client, Begin::InTurn);
        }
        self.all_ready(wanted).await
    }

    fn start(&self, client: &Client, begin: Begin) {
        let (world, dial) = (Arc::clone(&self.world), Arc::clone(&self.dial));
        let memory = Arc::clone(&client.memory);
        let task = tokio::spawn(async move {
            let mut turn = match begin {
                Begin::InTurn => dial.acquire_owned().await.ok(),
                Begin::After(pause) => {
                    sleep(pause).await;
                    None
                }
            };
            live(world, memory, clock::now(), || drop(turn.take())).await;
        });
        *client.task.lock() = Some(task);
    }

    async fn all_ready(&self, wanted: usize) -> u64 {
        let wanted = wanted as u64;
        let open = || self.world.board.open.load(Relaxed);
        let (mut most, mut last) = (open(), Instant::now());
        while open() < wanted && last.elapsed() < PATIENCE {
            sleep(LOOK).await;
            if open() > most {
                (most, last) = (open(), Instant::now());
            }
        }
        wanted.saturating_sub(open())
    }

    /// Lets clients leave at random, and come back.
    pub fn churn(self: &Arc<Self>, rate: f64, away: Duration) {
        let fleet = Arc::clone(self);
        let task = tokio::spawn(async move {
            let start = Instant::now();
            for turn in 1_u32.. {
                sleep_until(start + Duration::from_secs_f64(f64::from(turn) / rate)).await;
                let one = rand::rng().random_range(0..fleet.clients.len());
                let client = &fleet.clients[one];
                client.leave().await;
                fleet.start(client, Begin::After(away));
            }
        });
        *self.churn.lock() = Some(task);
    }

    /// Nobody leaves any more. How many did not come back.
    pub async fn calm(&self) -> u64 {
        let churn = self.churn.lock().take();
        end(churn).await;
        // Those that are away have no sooner a connection than their pause is over.
        self.all_ready(self.clients.iter().filter(|client| !client.is_away()).count())
            .await
    }

    /// All are cut off, and come back at once. How many did not.
    pub async fn storm(&self, jitter: Duration) -> u64 {
        let here: Vec<&Client> = self.clients.iter().filter(|client| !client.is_away()).collect();
        let tasks: Vec<_> = here.iter().filter_map(|client| client.task.lock().take()).collect();
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            end(Some(task)).await;
        }
        for client in &here {
            let pause = rand::rng().random_range(Duration::ZERO..=jitter);
            self.start(client, Begin::After(pause));
        }
        self.all_ready(here.len()).await
    }

    /// Waits for what was sent, and checks what came.
    pub async fn settle(&self, sent: &BTreeMap<Stream, u64>, quiet: Duration) -> Settled {
        let clients = self.clients.iter().map(|client| &client.memory);
        let settled = settle(&self.world.board, clients, sent, quiet).await;
        Settled {
            rest: self.world.board.tick(),
            ..settled
        }
    }

    pub async fn end(&self) {
        let churn = self.churn.lock().take();
        end(churn).await;
        for client in &self.clients {
            client.leave().await;
        }
    }
}

/// Waits until all that was sent has come, or nothing comes any more; then looks closely.
pub async fn settle<'a>(
    board: &Board,
    clients: impl Iterator<Item = &'a Arc<Memory>> + Clone,
    sent: &BTreeMap<Stream, u64>,
    quiet: Duration,
) -> Settled {
    let of = |stream| sent.get(&stream).copied().unwrap_or_default();
    let expected: u64 = clients.clone().flat_map(|client| streams(&client.who)).map(of).sum();
    let heard = || board.heard.load(Relaxed);
    let (mut before, mut last) = (heard(), Instant::now());
    while heard() < expected && last.elapsed() < quiet {
        sleep(LOOK).await;
        if heard() != before {
            (before, last) = (heard(), Instant::now());
        }
    }
    let mut settled = Settled::default();
    for client in clients {
        let (expected, heard, faults) = client.settle(of, streams(&client.who));
        settled.expected += expected;
        settled.heard += heard;
        settled.faults += faults;
        let wrong = faults.lost + faults.twice + faults.out_of_order;
        if wrong > 0 && settled.examples.len() < EXAMPLES {
            settled.examples.push(format!("client {}: {faults}", client.who.number));
        }
    }
    settled
}

impl Client {
    fn is_away(&self) -> bool {
        self.task.lock().is_none()
    }

    async fn leave(&self) {
        let task = self.task.lock().take();
        end(task).await;
    }
}

/// Ends a task, and waits until it has ended.
async fn end(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        task.abort();
        // Cancelled: as it should be. It cannot panic without the run being told by what is missing.
        let _ = task.await;
    }
}
