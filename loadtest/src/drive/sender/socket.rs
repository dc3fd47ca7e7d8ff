//! A sender that is a client like all others: one task writes what is due, another reads answers and messages.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::timeout};

use super::Stats;
use crate::{
    clock,
    drive::{
        client::{Memory, World, hear, open, until_ready},
        pacer::Job,
    },
    target::{Heard, Publish},
    wire::{
        Outgoing, WireError,
        ws::{Incoming, Reader, Writer},
    },
};

/// Written together where they are due together.
const AT_ONCE: usize = 256;
const BUFFER: usize = 16 << 10;
/// For the welcome.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects, and works until the schedule has ended or the connection.
pub async fn start(
    world: Arc<World>,
    stats: Arc<Stats>,
    memory: Arc<Memory>,
    jobs: mpsc::Receiver<Job>,
    size: usize,
) -> Result<()> {
    let host = world.server.address(memory.who.number).host.clone();
    let (mut reader, writer) = open(&world, &memory, BUFFER)
        .await
        .with_context(|| format!("a sender's connection to {host}"))?;
    let sender = SocketSender {
        world,
        stats,
        pending: Arc::default(),
        memory,
    };
    let (replies, replying) = mpsc::channel(16);
    let ready = timeout(PATIENCE, until_ready(&sender.world, &sender.memory.who, &mut reader)).await;
    ready.context("a sender was not welcomed in time")??;
    let listener = sender.clone();
    tokio::spawn(async move {
        let Err(error) = listener.listen(reader, replies).await;
        let what = format!("a sender to {host}: {}", error.kind());
        listener.world.board.closed(what);
    });
    tokio::spawn(async move {
        if let Err(error) = sender.write(writer, jobs, replying, size).await {
            sender.world.board.error(format!("a sender: {error}"));
        }
    });
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
