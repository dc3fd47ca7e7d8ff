//! A sender that goes on through faults of the cluster: one message at a time, under a key, again and again and over as many
//! connections as it takes, until it is answered. So each target's messages are stored in the order of their numbers, once.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Stats;
use crate::{
    clock,
    drive::{
        client::{Memory, World, hear, open},
        pacer::Job,
    },
    target::{Heard, Publish},
    wire::{
        Outgoing, WireError,
        ws::{Incoming, Reader, Writer},
    },
};

/// For an upgrade, a welcome, an answer: then another connection is tried. Herald answers a command within 9 seconds.
const PATIENCE: Duration = Duration::from_secs(12);
/// Before the next try.
const PAUSE: Duration = Duration::from_millis(200);
/// Errors after which the same may be asked again.
const RETRIED: [&str; 3] = ["unavailable", "timeout", "rate_limited"];

/// What comes over a connection.
enum Word {
    Ready,
    Answer { id: u32, error: Option<String> },
    Reply(Outgoing),
    Ended(WireError),
}

struct Patient {
    world: Arc<World>,
    stats: Arc<Stats>,
    memory: Arc<Memory>,
    size: usize,
    last_id: u32,
    /// Taken from the schedule and not answered.
    current: Option<Job>,
}

/// Connects for the first time, so that it hears from the beginning on, and works until the schedule has ended.
pub async fn start(
    world: Arc<World>,
    stats: Arc<Stats>,
    memory: Arc<Memory>,
    mut jobs: mpsc::Receiver<Job>,
    size: usize,
) -> Result<()> {
    let mut patient = Patient {
        world,
        stats,
        memory,
        size,
        last_id: 0,
        current: None,
    };
    let mut line = Line::open(&patient).await?;
    tokio::spawn(async move {
        loop {
            let error = match patient.work(&mut line, &mut jobs).await {
                Ok(()) => return,
                Err(error) => error,
            };
            patient.world.board.closed(format!("a sender: {}", error.kind()));
            line.end().await;
            line = loop {
                sleep(PAUSE).await;
                match Line::open(&patient).await {
                    Ok(line) => break line,
                    Err(error) => patient
                        .world
                        .board
                        .connect_failed(format!("a sender: {}", error.kind())),
                }
            };
        }
    });
    Ok(())
}

/// One connection. Its reader is a task of its own, for reading must not be cancelled.
struct Line {
    writer: Writer,
    words: mpsc::Receiver<Word>,
    reading: JoinSet<()>,
}

impl Line {
    async fn open(patient: &Patient) -> Result<Self, WireError> {
        let (world, memory) = (Arc::clone(&patient.world), Arc::clone(&patient.memory));
        let opened = timeout(PATIENCE, open(&world, &memory, 0)).await;
        let (reader, writer) = opened.map_err(|_| WireError::Late)??;
        let (tell, words) = mpsc::channel(16);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let Err(error) = listen(&world, &memory, reader, &tell).await;
            // Where nobody hears it the line is given up already.
            let _ = tell.send(Word::Ended(error)).await;
        });
        let mut line = Self { writer, words, reading };
        loop {
            match line.word().await? {
                Word::Ready => return Ok(line),
                other => line.heed(other).await?,
            }
        }
    }

    /// Nothing is heard any more: what the next connection gives again must not be taken for doubled on this one.
    async fn end(mut self) {
        self.reading.shutdown().await;
    }

    async fn word(&mut self) -> Result<Word, WireError> {
        let word = timeout(PATIENCE, self.words.recv()).await;
        word.map_err(|_| WireError::Late)?.ok_or(WireError::Late)
    }

    /// What is no answer.
    async fn heed(&mut self, word: Word) -> Result<(), WireError> {
        match word {
            Word::Reply(reply) => self.writer.send(reply).await,
            Word::Ended(error) => Err(error),
            // Of an earlier try.
            Word::Ready | Word::Answer { .. } => Ok(()),
        }
    }
}

#[derive(Debug)]
enum Never {}

async fn listen(
    world: &World,
    memory: &Memory,
    mut reader: Reader,
    tell: &mpsc::Sender<Word>,
) -> Result<Never, WireError> {
    loop {
        let word = match reader.next().await? {
            Incoming::Ping(payload) => Word::Reply(Outgoing::Pong(payload)),
            Incoming::Other => continue,
            Incoming::Message(frame) if hear(world, memory, &frame, 0) => continue,
            Incoming::Message(frame) => match world.peer.hear(&memory.who, &frame) {
                Heard::Ready { cursor, gap } => {
                    memory.keep(cursor);
                    if gap {
                        world.board.gap();
                    }
                    Word::Ready
                }
                Heard::Cursor(cursor) => {
                    memory.keep(Some(cursor));
                    continue;
                }
                Heard::Gap => {
                    world.board.gap();
                    continue;
                }
                Heard::Answer { id, error } => Word::Answer { id, error },
                Heard::Reply(reply) => Word::Reply(reply),
                Heard::Refused(reason) => return Err(WireError::Closed { code: 0, reason }),
                Heard::Nothing => continue,
            },
        };
        if tell.send(word).await.is_err() {
            return Err(WireError::Late);
        }
    }
}

impl Patient {
    /// Until the schedule has ended.
    async fn work(&mut self, line: &mut Line, jobs: &mut mpsc::Receiver<Job>) -> Result<(), WireError> {
        loop {
            if self.current.is_none() {
                // Both are safe to be cancelled.
                tokio::select! {
                    job = jobs.recv() => match job {
                        Some(job) => {
                            self.stats.lag.record(0, clock::micros_since(job.stamp.due));
                            self.stats.written.fetch_add(1, Relaxed);
                            self.current = Some(job);
                        }
                        None => return Ok(()),
                    },
                    Some(word) = line.words.recv() => line.heed(word).await?,
                }
            }
            if let Some(job) = self.current {
                self.send(line, job).await?;
            }
        }
    }

    async fn send(&mut self, line: &mut Line, job: Job) -> Result<(), WireError> {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let stamp = job.stamp;
        let key = format!("{}-{}-{}", stamp.run, stamp.stream, stamp.number);
        let publish = self
            .world
            .peer
            .publish_under(&key, job.to, &stamp.body(self.size), self.last_id);
        let Ok(Publish::Frame(frame)) = publish else {
            return Err(WireError::NotHttp("this target knows no keys".to_owned()));
        };
        line.writer.send(frame).await?;
        let error = loop {
            match line.word().await? {
                Word::Answer { id, error } if id == self.last_id => break error,
                other => line.heed(other).await?,
            }
        };
        match error {
            Some(error) if RETRIED.iter().any(|code| error.starts_with(code)) => {
                self.world.board.error(error);
                sleep(PAUSE).await;
                return Ok(());
            }
            Some(error) => {
                self.stats.refused.fetch_add(1, Relaxed);
                self.world.board.error(error);
            }
            None => {
                self.stats.answer.record(0, clock::micros_since(stamp.due));
                self.stats.answered.fetch_add(1, Relaxed);
            }
        }
        self.current = None;
        Ok(())
    }
}
