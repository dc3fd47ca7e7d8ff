//! Clients that asked to be told when users come online and go offline.
//!
//! Once somebody on this node watches anybody, the node follows the presence bucket, and keeps of it what concerns those
//! who are watched. So what watchers are told depends on no router; only whether they may see whom does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use herald_proto::ErrorCode;
use herald_router::{
    bus::{Bucket, Bus, BusError, KvEvent},
    failure::Failure,
    presence::Fact,
};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::debug;

use crate::{
    conn::Conn,
    event::Push,
    hub::fanout,
    limits::Limits,
    metrics::{Metrics, PresenceCounters},
    routers::Routers,
};

pub mod board;
mod visible;

use board::{Added, Board, News, State, Unread, Watcher};
use visible::Visible;

/// How soon one who went offline is told of, beside the grace.
const TICK: Duration = Duration::from_millis(100);
/// Before a watch that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Before a replica that lags is asked again.
const LAG: Duration = Duration::from_millis(10);
/// How long a command waits for the bucket.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection that watches.
#[derive(Clone)]
pub struct Viewer {
    pub conn: Arc<Conn>,
    pub user: Arc<str>,
    /// It may see only whom it shares a group with: that must be asked again before each push.
    pub restricted: bool,
}

impl Watcher for Viewer {
    fn key(&self) -> usize {
        Arc::as_ptr(&self.conn).addr()
    }

    fn is_open(&self) -> bool {
        self.conn.outbox.is_open()
    }
}

pub struct Watching {
    bus: Bus,
    /// The key of this node's lease: it always stands, so that every answer of the bucket tells how new it is.
    anchor: String,
    limits: Arc<Limits>,
    board: Mutex<Board<Viewer>>,
    wanted: Notify,
    visible: Visible,
    metrics: Metrics,
    counters: PresenceCounters,
}

impl Watching {
    pub fn new(bus: Bus, node: &str, limits: Arc<Limits>, grace: Duration, metrics: Metrics) -> Self {
        let lease = Fact::Lease { node: node.to_owned() };
        Self {
            bus,
            anchor: lease.key(),
            limits,
            board: Mutex::new(Board::new(grace)),
            wanted: Notify::new(),
            visible: Visible::new(),
            metrics,
            counters: PresenceCounters::new(),
        }
    }

    /// Watches users whom the viewer may see. `answer` is given what holds now, before anything that changes is told.
    pub async fn watch(
        &self,
        viewer: &Viewer,
        users: &[String],
        answer: impl FnOnce(Vec<State>),
    ) -> Result<(), Failure> {
        self.wanted.notify_one();
        let watched = timeout(PATIENCE, self.add(viewer, users, answer)).await;
        let outcome =
            watched.unwrap_or_else(|_| Err(Failure::new(ErrorCode::Unavailable, "presence is not known yet")));
        if outcome.is_err() {
            self.board.lock().tidy(users);
        }
        outcome
    }

    async fn add(&self, viewer: &Viewer, users: &[String], answer: impl FnOnce(Vec<State>)) -> Result<(), Failure> {
        loop {
            self.read(users).await?;
            let limit = self.limits.now().watches_per_connection as usize;
            let mut board = self.board.lock();
            match board.add(viewer, users, limit) {
                Added::Watching(states) => {
                    // Under the lock: what changes next is told behind it.
                    answer(states);
                    self.counters.watching(board.count());
                    return Ok(());
                }
                Added::TooMany => {
                    return Err(Failure::forbidden(format!("a connection may watch {limit} users")));
                }
                Added::Gone => return Ok(()),
                Added::Unread => {}
            }
        }
    }

    /// Reads those of `users` from the bucket whom nobody has watched so far.
    async fn read(&self, users: &[String]) -> Result<(), BusError> {
        loop {
            let unread = self.board.lock().begin(users);
            match unread {
                None => {}
                Some(unread) if unread.users.is_empty() => return Ok(()),
                Some(unread) if self.select(&unread).await? => return Ok(()),
                Some(_) => {}
            }
            sleep(LAG).await;
        }
    }

    async fn select(&self, unread: &Unread) -> Result<bool, BusError> {
        let keys = unread.users.iter().flat_map(|user| Fact::prefixes_of(user));
        let prefixes: Vec<String> = std::iter::once(self.anchor.clone()).chain(keys).collect();
        let selection = self.bus.kv.select(Bucket::Presence, &prefixes).await?;
        Ok(self.board.lock().read(unread, &selection, now()))
    }

    pub fn unwatch(&self, viewer: &Viewer, users: &[String]) {
        let mut board = self.board.lock();
        board.remove(viewer, users);
        self.counters.watching(board.count());
    }

    /// The connection has ended.
    pub fn leave(&self, conn: &Arc<Conn>) {
        let viewer = Viewer {
            conn: conn.clone(),
            user: "".into(),
            restricted: false,
        };
        let mut board = self.board.lock();
        board.remove_all(&viewer);
        self.counters.watching(board.count());
    }

    /// Works until dropped.
    pub async fn run(self: &Arc<Self>, routers: &Routers) {
        tokio::join!(self.visible.run(self, routers), async {
            self.wanted.notified().await;
            loop {
                if let Err(error) = self.follow().await {
                    debug!(%error, "presence cannot be followed yet");
                }
                sleep(RETRY).await;
            }
        });
    }

    async fn follow(&self) -> Result<(), BusError> {
        let mut watch = self.bus.kv.watch(Bucket::Presence, "").await?;
        // Another watch was here before: what it told may be out of date.
        self.events(&[KvEvent::Reset]);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                events = watch.next_many() => {
                    if events.is_empty() {
                        return Err(BusError::Unavailable("the watch ended".to_owned()));
                    }
                    self.events(&events);
                }
                _ = tick.tick() => self.board.lock().tick(now(), &mut |news| self.tell(&news)),
            }
        }
    }

    fn events(&self, events: &[KvEvent]) {
        let mut board = self.board.lock();
        for event in events {
            board.event(event, now(), &mut |news| self.tell(&news));
        }
    }

    /// Never waits. Whoever does not read is closed: a change that was missed would never be told again.
    fn tell(&self, news: &News<'_, Viewer>) {
        let push = Push::Presence {
            user: news.user.to_owned(),
            online: news.online,
            since: news.since,
        };
        let (restricted, free): (Vec<&Viewer>, Vec<&Viewer>) =
            news.watchers.iter().partition(|viewer| viewer.restricted);
        let free: Vec<Arc<Conn>> = free.into_iter().map(|viewer| viewer.conn.clone()).collect();
        self.push(&free, &push);
        for viewer in restricted {
            self.visible.ask(viewer, news.user, &push);
        }
    }

    fn push(&self, to: &[Arc<Conn>], push: &Push) {
        self.counters.pushes.increment(to.len() as u64);
        fanout::push_to(to, push, true, &self.metrics);
    }
}

/// By tokio's clock, so that it can be turned in tests.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
