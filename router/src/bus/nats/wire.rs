//! The connection that live copies come over, apart from the client's.
//!
//! The client keeps a channel for each subscription, whose first block alone takes 6.4 KiB, and a task is needed to empty it:
//! for tens of thousands of users that is most of a gateway's memory, and every message changes tasks twice. Here a
//! subscription is an entry in a table, and what comes is handed to it by the one task that reads. Nothing is dropped for want
//! of room either: who reads too slowly is cut off by the server, which is told as a disturbance.

use std::{io, sync::Arc, time::Duration};

use async_nats::ServerAddr;
use bytes::BytesMut;
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::{Access, NatsConfig, READ, link};
use crate::{
    bus::{BusError, LiveCopy, Result},
    metrics::node,
};
use connect::{Connected, Refused, Stream, connect};
use op::{BadOp, Op};
use stored::stored_at;
use table::Table;

mod connect;
mod op;
mod stored;
mod table;
mod tls;

/// Two pings without an answer end a connection: a dead server is noticed within six seconds.
const PING: Duration = Duration::from_secs(2);
/// One write that takes longer has failed.
const WRITE: Duration = Duration::from_secs(10);

pub(super) struct Wire {
    table: Mutex<Table>,
    /// There is something to write.
    write: Notify,
    /// There is a connection, and the server knows of all subscriptions.
    current: watch::Sender<bool>,
}

/// A subscription; ends when dropped.
pub(super) struct Subscription {
    wire: Arc<Wire>,
    sid: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.wire.table.lock().unsubscribe(self.sid);
        self.wire.write.notify_one();
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Bad(#[from] BadOp),
    #[error("closed by the server")]
    Closed,
    #[error("no answer to its pings")]
    Silent,
    #[error("nothing can be written")]
    Stuck,
}

impl Wire {
    /// Connects, and connects again, until shutdown. `disturbed` grows when live copies may have been lost.
    pub(super) fn start(
        config: &NatsConfig,
        disturbed: watch::Sender<u64>,
        shutdown: CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>> {
        let wire = Arc::new(Self {
            table: Mutex::default(),
            write: Notify::new(),
            current: watch::Sender::new(false),
        });
        let keeper = Keeper {
            wire: wire.clone(),
            given: link::servers(&config.urls)?,
            access: config.access.clone(),
            name: format!("{} live", config.name),
            metrics: node::Live::new(),
            disturbed,
        };
        tasks.spawn(async move { shutdown.run_until_cancelled(keeper.run()).await });
        Ok(wire)
    }

    /// Whether all that is subscribed to comes.
    pub(super) fn current(&self) -> watch::Receiver<bool> {
        self.current.subscribe()
    }

    /// Copies on `subject` to `deliver`, in the order of their coming, from the one task that reads: it must not block. When
    /// this returns, the server that we are connected to knows of it; others of its cluster may learn later.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        subject: String,
        deliver: impl Fn(LiveCopy) + Send + Sync + 'static,
    ) -> Result<Subscription> {
        let lost = || BusError::Unavailable("not connected to NATS".to_owned());
        let subscribed = self.table.lock().subscribe(subject.into(), Arc::new(deliver));
        let (sid, known) = subscribed.ok_or_else(lost)?;
        let subscription = Subscription {
            wire: self.clone(),
            sid,
        };
        self.write.notify_one();
        match timeout(READ, known).await {
            Ok(Ok(())) => Ok(subscription),
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(BusError::Timeout),
        }
    }
}

/// The task that keeps the connection.
struct Keeper {
    wire: Arc<Wire>,
    given: Vec<ServerAddr>,
    access: Access,
    name: String,
    metrics: node::Live,
    disturbed: watch::Sender<u64>,
}

impl Keeper {
    async fn run(&self) {
        let mut servers = self.given.clone();
        let (mut attempts, mut told) = (0, None);
        loop {
            // Any of them, so that nodes spread over a cluster.
            servers.shuffle(&mut rand::rng());
            for server in servers.clone() {
                sleep(link::reconnect_delay(attempts)).await;
                attempts += 1;
                match connect(&server, &self.access, &self.name).await {
                    Ok(connected) => {
                        told = None;
                        servers = self.known(&connected.others);
                        let begun = Instant::now();
                        let lost = self.serve(connected).await;
                        // One that ends at once is not made again and again without a pause.
                        if begun.elapsed() >= PING {
                            attempts = 0;
                        }
                        warn!(server = place(&server), %lost, "the connection for live copies was lost");
                        break;
                    }
                    Err(why) => self.tell(&server, &why, &mut told),
                }
            }
        }
    }

    /// Those that were given, and those that a server has told of.
    fn known(&self, others: &[ServerAddr]) -> Vec<ServerAddr> {
        let mut all = self.given.clone();
        all.extend(others.iter().filter(|other| !self.given.contains(other)).cloned());
        all
    }

    /// Once for each reason.
    fn tell(&self, server: &ServerAddr, why: &Refused, told: &mut Option<String>) {
        let why = link::line(&why.to_string());
        self.metrics.refused(node::Refusal::of(&why));
        if told.as_ref() != Some(&why) {
            warn!(server = place(server), why, "no connection to NATS for live copies");
            *told = Some(why);
        }
    }

    async fn serve(&self, connected: Connected) -> Lost {
        let known = self.wire.table.lock().connected();
        self.metrics.connected();
        let (mut reader, mut writer) = split(connected.stream);
        let disturb = async {
            // Only now what was missed can be asked for without missing more.
            if known.await.is_ok() {
                info!("live copies come");
                self.wire.current.send_replace(true);
                self.disturbed.send_modify(|count| *count += 1);
            }
            std::future::pending().await
        };
        let lost = tokio::select! {
            lost = self.read(&mut reader, connected.buffer) => lost,
            lost = self.write(&mut writer) => lost,
            lost = self.keep_alive() => lost,
            () = disturb => Lost::Closed, // it never ends
        };
        self.wire.current.send_replace(false);
        self.wire.table.lock().lost();
        self.metrics.lost();
        lost
    }

    async fn read(&self, reader: &mut ReadHalf<Box<dyn Stream>>, mut buffer: BytesMut) -> Lost {
        loop {
            loop {
                match op::next(&mut buffer) {
                    Ok(Some(op)) => self.heard(op),
                    Ok(None) => break,
                    Err(bad) => return bad.into(),
                }
            }
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return Lost::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            }
            // Others shall have their turn.
            yield_now().await;
        }
    }

    fn heard(&self, op: Op) {
        match op {
            Op::Message { sid, headers, payload } => {
                let deliver = self.wire.table.lock().deliver_of(sid);
                if let Some(deliver) = deliver {
                    deliver(LiveCopy {
                        stored: stored_at(&headers),
                        payload,
                    });
                }
            }
            Op::Pong => self.wire.table.lock().ponged(),
            Op::Ping => {
                self.wire.table.lock().pong();
                self.wire.write.notify_one();
            }
            // The server closes where it is more than a word.
            Op::Error(words) => warn!(words, "NATS refuses"),
            Op::Info(_) | Op::Ok => debug!("NATS tells of its cluster"),
        }
    }

    async fn write(&self, writer: &mut WriteHalf<Box<dyn Stream>>) -> Lost {
        loop {
            let mut out = self.wire.table.lock().take_out();
            if out.is_empty() {
                self.wire.write.notified().await;
                continue;
            }
            let written = timeout(WRITE, async {
                writer.write_all_buf(&mut out).await?;
                writer.flush().await
            });
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return Lost::Stuck,
            }
        }
    }

    async fn keep_alive(&self) -> Lost {
        let mut tick = interval(PING);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !self.wire.table.lock().keep_alive() {
                return Lost::Silent;
            }
            self.wire.write.notify_one();
        }
    }
}

/// Of a URL nothing more: it may hold a password.
fn place(server: &ServerAddr) -> String {
    format!("{}:{}", server.host(), server.port())
}
