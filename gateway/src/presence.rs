//! Tells the cluster who is connected to this node.
//!
//! One task writes, level-triggered: a change only marks its user, and what is then written is what holds at that
//! moment, one operation in flight for each key. All keys count only while this node's lease stands; should the lease
//! be lost (a pause, an expiry), the node begins a new incarnation and puts all its keys again. Should another process
//! refresh it, under the same name, this one must end.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use herald_proto::cluster::UserOnNode;
use herald_router::bus::Bus;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::metrics::PresenceCounters;

mod away;
mod key;
mod lease;
mod local;
mod writer;

pub use away::{AWAY, Away};
pub use lease::NameTaken;
pub(crate) use local::{Local, info};

use lease::NodeLease;
use writer::Writer;

/// A user's number of connections is written again at most this often; so is what could not be written.
const REWRITE: Duration = Duration::from_secs(1);

type User = Arc<str>;

/// Who is connected to this node: the truth that is told.
pub trait Source: Send + Sync {
    /// What holds of a user at this moment.
    fn on_node(&self, user: &str) -> UserOnNode;
}

pub struct Presence {
    bus: Bus,
    node: String,
    /// Unlike that of all other processes, those of the same name too.
    process: String,
    /// A lease has stood.
    told: AtomicBool,
    taken: CancellationToken,
    counters: PresenceCounters,
    changed: Mutex<Changed>,
    wake: Notify,
}

#[derive(Default)]
struct Changed {
    users: HashSet<User>,
    /// Who waits until a user's key has been written.
    waiting: HashMap<User, Vec<oneshot::Sender<Infallible>>>,
}

impl Presence {
    pub fn new(bus: Bus, node: String) -> Arc<Self> {
        Arc::new(Self {
            bus,
            node,
            process: lease::made_up(),
            told: AtomicBool::new(false),
            taken: CancellationToken::new(),
            counters: PresenceCounters::new(),
            changed: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// A connection of this user came or went.
    pub fn touch(&self, user: &User) {
        self.changed.lock().users.insert(user.clone());
        self.wake.notify_one();
    }

    /// As [`Self::touch`]; the receiver resolves, with an error, when the user's key has been written.
    pub fn announce(&self, user: &User) -> oneshot::Receiver<Infallible> {
        let (written, seen) = oneshot::channel();
        {
            let mut changed = self.changed.lock();
            changed.users.insert(user.clone());
            let waiting = changed.waiting.entry(user.clone()).or_default();
            // While nothing can be written, those who gave up waiting must not pile up.
            waiting.retain(|waiter| !waiter.is_closed());
            waiting.push(written);
        }
        self.wake.notify_one();
        seen
    }

    /// Whether the cluster has been told of this node at all.
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Resolves when the node's name turns out to be another's. This one must end then.
    pub async fn name_taken(&self) -> NameTaken {
        self.taken.cancelled().await;
        NameTaken(self.node.clone())
    }

    /// Writes until dropped.
    pub async fn run(self: Arc<Self>, source: Arc<dyn Source>) {
        let Err(taken) = self.clone().write(source).await;
        error!(%taken);
        self.taken.cancel();
    }

    async fn write(self: Arc<Self>, source: Arc<dyn Source>) -> Result<Infallible, NameTaken> {
        let mut writer = Writer::begin(self.clone(), source).await?;
        let mut rewrite = interval(REWRITE / 4);
        rewrite.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = sleep_until(writer.next_refresh()) => writer.refresh_lease().await?,
                _ = rewrite.tick() => {
                    self.counters.age();
                    writer.write_postponed().await;
                }
                () = self.wake.notified() => writer.write(self.take_changed()).await,
            }
        }
    }

    fn take_changed(&self) -> HashSet<User> {
        std::mem::take(&mut self.changed.lock().users)
    }

    fn tell_waiting(&self, written: impl Fn(&User) -> bool) {
        let mut changed = self.changed.lock();
        let Changed { users, waiting } = &mut *changed;
        // A user that is neither written nor marked has gone again: nothing will be written any more.
        waiting.retain(|user, _| users.contains(user) && !written(user));
    }

    /// Ends the lease, so that the cluster need not wait for its expiry.
    pub async fn leave(&self) {
        if let Err(error) = NodeLease::end(&self.node, &self.process, &self.bus).await {
            info!(%error, "the node's lease is left to expire");
        }
    }
}

#[cfg(test)]
mod tests;
