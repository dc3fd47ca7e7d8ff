//! Those who send: each a client with a connection of its own, or one that posts to the application's interface.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hyper::Method;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    board::Board,
    client::{Memory, World, hear, open},
    fleet,
    pacer::{self, Due, Job},
    plan::Settled,
};
use crate::{
    clock,
    measure::latency::Recorder,
    stamp::Stream,
    target::{Heard, Peer, Publish, Server, Who},
    wire::{
        Outgoing, WireError,
        http::Http,
        ws::{Incoming, Reader, Writer},
    },
};

/// Messages that wait for one sender; then the schedule waits, and latency goes on counting.
const QUEUE: usize = 4096;
/// Written together where they are due together.
const AT_ONCE: usize = 256;
const BUFFER: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// How senders reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Over connections like all others.
    Socket,
    /// Over HTTP, to [`Server::api`].
    Api,
}

pub struct Senders {
    queues: Vec<mpsc::Sender<Job>>,
    memories: Vec<Arc<Memory>>,
    world: Arc<World>,
    stats: Arc<Stats>,
    via: Via,
    run: u32,
}

/// What senders write down.
#[derive(Default)]
pub struct Stats {
    /// Handed out by the schedule.
    pub due: Arc<AtomicU64>,
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
        self.seconds.lock().push((clock::now(), self.due.load(Relaxed)));
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
        };
        for (index, groups) in groups.into_iter().enumerate() {
            let (queue, jobs) = mpsc::channel(QUEUE);
            senders.queues.push(queue);
            match via {
                Via::Socket => {
                    let memory = Arc::new(Memory::new(Who {
                        number: Who::SENDERS + index,
                        groups,
                    }));
                    senders.memories.push(Arc::clone(&memory));
                    senders.start_socket(memory, jobs, size).await?;
                }
                Via::Api => senders.start_api(index, jobs, size)?,
            }
        }
        Ok(senders)
    }

    async fn start_socket(&self, memory: Arc<Memory>, jobs: mpsc::Receiver<Job>, size: usize) -> Result<()> {
        let (mut reader, writer) = open(&self.world, &memory, BUFFER)
            .await
            .context("a sender's connection")?;
        let sender = SocketSender {
            world: Arc::clone(&self.world),
            stats: Arc::clone(&self.stats),
            pending: Arc::default(),
            memory,
        };
        let (replies, replying) = mpsc::channel(16);
        if !self.world.peer.ready_at_once() {
            let ready = timeout(PATIENCE, sender.until_ready(&mut reader)).await;
            ready.context("a sender was not welcomed in time")??;
        }
        let listener = sender.clone();
        tokio::spawn(async move {
            let Err(error) = listener.listen(reader, replies).await;
            listener.world.board.closed(format!("a sender: {}", error.kind()));
        });
        tokio::spawn(async move {
            if let Err(error) = sender.write(writer, jobs, replying, size).await {
                sender.world.board.error(format!("a sender: {error:#}"));
            }
        });
        Ok(())
    }

    fn start_api(&self, index: usize, mut jobs: mpsc::Receiver<Job>, size: usize) -> Result<()> {
        let Some(address) = self.world.server.api.clone() else {
            bail!("this target is published to over HTTP: name it with --api");
        };
        let mut http = Http::new(address, self.world.sources, index);
        let (world, stats) = (Arc::clone(&self.world), Arc::clone(&self.stats));
        tokio::spawn(async move {
            while let Some(job) = jobs.recv().await {
                if let Err(error) = post(&mut http, &*world.peer, &stats, job, size).await {
                    stats.refused.fetch_add(1, Relaxed);
                    world.board.error(error);
                }
            }
        });
        Ok(())
    }

    pub fn board(&self) -> &Board {
        &self.world.board
    }

    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Sends by a schedule, and waits for the answers. What was sent of each stream in all.
    pub async fn send(
        &self,
        schedule: impl Iterator<Item = Due> + Send + 'static,
        before: BTreeMap<Stream, u64>,
    ) -> Result<BTreeMap<Stream, u64>> {
        let (queues, progress, run) = (self.queues.clone(), Arc::clone(&self.stats.due), self.run);
        let ticking = tokio::spawn(tick(Arc::clone(&self.stats)));
        let pacing = move || pacer::run(run, schedule, before, &queues, &progress);
        let sent = tokio::task::spawn_blocking(pacing).await?;
        self.answered().await;
        ticking.abort();
        self.stats.tick();
        Ok(sent)
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
        while done() < stats.due.load(Relaxed) && last.elapsed() < PATIENCE {
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
        stats.due.load(Relaxed).saturating_sub(done)
    }

    pub async fn settle(&self, sent: &BTreeMap<Stream, u64>, quiet: Duration) -> Settled {
        let settled = fleet::settle(&self.world.board, self.memories.iter(), sent, quiet).await;
        Settled {
            rest: self.world.board.tick(),
            ..settled
        }
    }
}

async fn post(http: &mut Http, peer: &dyn Peer, stats: &Stats, job: Job, size: usize) -> Result<(), String> {
    let publish = peer.publish(job.to, &job.stamp.body(size), 0);
    let Ok(Publish::Post { path, headers, body }) = publish else {
        return Err(format!("{:?} cannot be posted: {publish:?}", job.to));
    };
    stats.lag.record(0, clock::micros_since(job.stamp.due));
    stats.written.fetch_add(1, Relaxed);
    let answer = http.request(Method::POST, &path, &headers, body).await;
    let answer = answer.map_err(|error| error.kind())?;
    let failed = memchr::memmem::find(&answer.body, b"\"error\"").is_some();
    if !(200..300).contains(&answer.status) || failed {
        let text: String = String::from_utf8_lossy(&answer.body).chars().take(120).collect();
        return Err(format!("{}: {text}", answer.status));
    }
    stats.answer.record(0, clock::micros_since(job.stamp.due));
    stats.answered.fetch_add(1, Relaxed);
    Ok(())
}

#[derive(Clone)]
struct SocketSender {
    world: Arc<World>,
    stats: Arc<Stats>,
    memory: Arc<Memory>,
    /// Commands under way, in their order: id, and when they were due.
    pending: Arc<Mutex<VecDeque<(u32, u64)>>>,
}

#[derive(Debug)]
enum Never {}

impl SocketSender {
    async fn until_ready(&self, reader: &mut Reader) -> Result<(), WireError> {
        loop {
            let Incoming::Message(frame) = reader.next().await? else {
                continue;
            };
            match self.world.peer.hear(&self.memory.who, &frame) {
                Heard::Ready { .. } => return Ok(()),
                Heard::Refused(reason) => return Err(WireError::Closed { code: 0, reason }),
                _ => {}
            }
        }
    }

    async fn listen(&self, mut reader: Reader, replies: mpsc::Sender<Outgoing>) -> Result<Never, WireError> {
        loop {
            let reply = match reader.next().await? {
                Incoming::Ping(payload) => Outgoing::Pong(payload),
                Incoming::Other => continue,
                Incoming::Message(frame) if hear(&self.world, &self.memory, &frame, 0) => continue,
                Incoming::Message(frame) => match self.world.peer.hear(&self.memory.who, &frame) {
                    Heard::Answer { id, error } => {
                        self.take_answer(id, error);
                        continue;
                    }
                    Heard::Reply(reply) => reply,
                    Heard::Refused(reason) => return Err(WireError::Closed { code: 0, reason }),
                    _ => continue,
                },
            };
            if replies.send(reply).await.is_err() {
                return Err(WireError::NotHttp("the sender has ended".into()));
            }
        }
    }

    fn take_answer(&self, id: u32, error: Option<String>) {
        let mut pending = self.pending.lock();
        let Some(place) = pending.iter().position(|(pending, _)| *pending == id) else {
            return;
        };
        let Some((_, due)) = pending.remove(place) else {
            return;
        };
        drop(pending);
        match error {
            None => {
                self.stats.answer.record(place, clock::micros_since(due));
                self.stats.answered.fetch_add(1, Relaxed);
            }
            Some(error) => {
                self.stats.refused.fetch_add(1, Relaxed);
                self.world.board.error(error);
            }
        }
    }

    async fn write(
        &self,
        mut writer: Writer,
        mut jobs: mpsc::Receiver<Job>,
        mut replies: mpsc::Receiver<Outgoing>,
        size: usize,
    ) -> Result<()> {
        let mut batch = Vec::with_capacity(AT_ONCE);
        let mut id = 0_u32;
        loop {
            // Both are safe to be cancelled.
            tokio::select! {
                Some(reply) = replies.recv() => writer.send(reply).await?,
                count = jobs.recv_many(&mut batch, AT_ONCE) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for job in batch.drain(..) {
                        id = id.wrapping_add(1).max(1);
                        self.feed(&mut writer, job, id, size).await?;
                    }
                    writer.flush().await?;
                }
            }
        }
    }

    async fn feed(&self, writer: &mut Writer, job: Job, id: u32, size: usize) -> Result<()> {
        let publish = self.world.peer.publish(job.to, &job.stamp.body(size), id)?;
        let Publish::Frame(frame) = publish else {
            bail!("this target is published to over HTTP: say --via api");
        };
        if self.world.peer.answers() {
            self.pending.lock().push_back((id, job.stamp.due));
        }
        writer.feed(frame).await?;
        self.stats.lag.record(0, clock::micros_since(job.stamp.due));
        self.stats.written.fetch_add(1, Relaxed);
        Ok(())
    }
}
