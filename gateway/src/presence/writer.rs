//! The one task that writes this node's presence keys and its lease.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroU64,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use herald_proto::{cluster::UserOnNode, limits};
use herald_router::{
    bus::{BusError, Version},
    presence::{Fact, LAPSE},
};
use prost::Message;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{
    Presence, REWRITE, Source, User,
    key::{self, Traces},
    lease::{NameTaken, NodeLease},
};

/// Operations in flight at once, each on another key.
const AT_ONCE: usize = 64;
/// How often the lease is refreshed …
pub(super) const REFRESH: Duration = limits::LEASE.checked_div(3).expect("three is not zero");
/// … and tried again where that failed: its end may be near.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    presence: Arc<Presence>,
    source: Arc<dyn Source>,
    lease: NodeLease,
    next_refresh: Instant,
    begun: Instant,
    /// The keys that stand, as far as this task knows.
    written: HashMap<User, Written>,
    /// Of the same incarnation.
    traces: Traces,
    /// To be looked at again with the next tick.
    postponed: HashSet<User>,
}

struct Written {
    /// None: what stands is not known.
    digest: Option<Digest>,
    /// With what the next write compares; None: that must be looked up.
    version: Option<Version>,
    /// From then on, in Unix milliseconds, the user has been here.
    since: u64,
    /// When this was written, in milliseconds since the writer began.
    at: u64,
}

/// None of them is zero, so that one more costs nothing.
type Digest = NonZeroU64;

impl Writer {
    pub async fn begin(presence: Arc<Presence>, source: Arc<dyn Source>) -> Result<Self, NameTaken> {
        let mut writer = Self {
            lease: NodeLease::new(&presence.node, &presence.process),
            presence,
            source,
            next_refresh: Instant::now(),
            begun: Instant::now(),
            written: HashMap::new(),
            traces: Traces::default(),
            postponed: HashSet::new(),
        };
        writer.take_lease().await?;
        Ok(writer)
    }

    pub fn next_refresh(&self) -> Instant {
        self.next_refresh
    }

    pub async fn refresh_lease(&mut self) -> Result<(), NameTaken> {
        let refreshed = self.lease.refresh(&self.presence.bus).await;
        self.presence.counters.leases.increment(1);
        match refreshed {
            Ok(()) => self.leased(),
            Err(BusError::Conflict) => {
                warn!("the node's lease was lost: its users are announced again");
                self.take_lease().await?;
            }
            Err(error) => {
                debug!(%error, "the node's lease could not be refreshed");
                self.next_refresh = Instant::now() + RETRY;
            }
        }
        Ok(())
    }

    fn leased(&mut self) {
        self.presence.counters.leased();
        self.presence.told.store(true, Ordering::Relaxed);
        self.next_refresh = Instant::now() + REFRESH;
    }

    /// A new incarnation: first all keys are put, then the lease by which they count. So nobody who was online by the
    /// incarnation before goes offline in between. Tries until the lease stands; fails where another process' does.
    async fn take_lease(&mut self) -> Result<(), NameTaken> {
        self.lease.vacant(&self.presence.bus).await?;
        loop {
            self.lease = NodeLease::new(&self.presence.node, &self.presence.process);
            let begun = Instant::now();
            let mut users: HashSet<User> = self.written.keys().cloned().collect();
            // No key of this name has ever stood.
            self.traces.clear();
            for written in self.written.values_mut() {
                (written.digest, written.version) = (None, Some(Version::Gone(0)));
            }
            // Routers take keys away that have been without a lease for long.
            while begun.elapsed() < LAPSE / 2 {
                users.extend(self.presence.take_changed());
                users.extend(self.postponed.drain());
                self.write(std::mem::take(&mut users)).await;
                let unknown = self.written.values().any(|written| written.digest.is_none());
                if !unknown {
                    self.presence.counters.leases.increment(1);
                    match self.lease.put(&self.presence.bus).await {
                        Ok(()) => {
                            self.leased();
                            return Ok(());
                        }
                        Err(error) => debug!(%error, "the node's lease cannot be put yet"),
                    }
                }
                sleep(RETRY).await;
            }
        }
    }

    pub async fn write_postponed(&mut self) {
        let users = std::mem::take(&mut self.postponed);
        if !users.is_empty() {
            self.write(users).await;
        }
    }

    /// Writes what holds now for each of `users`, where it differs from what stands.
    pub async fn write(&mut self, users: HashSet<User>) {
        let mut jobs = Vec::new();
        for user in users {
            let mut value = self.source.on_node(&user);
            let known = self.written.get(&user);
            let version = known.map_or_else(|| Some(self.traces.of(&user)), |known| known.version);
            if let Some(known) = known {
                value.since = known.since;
            }
            let digest = digest(&value);
            match known {
                None if value.connections == 0 => {}
                Some(known) if known.digest == Some(digest) => {}
                // Online is online: who else there is may wait.
                Some(known) if value.connections > 0 && known.digest.is_some() && self.is_fresh(known) => {
                    self.postponed.insert(user);
                }
                _ => jobs.push((user, value, digest, version)),
            }
        }
        self.presence.counters.keys.increment(jobs.len() as u64);
        let (bus, node, incarnation) = (&self.presence.bus, &self.presence.node, &self.lease.incarnation);
        let outcomes: Vec<_> = stream::iter(jobs)
            .map(|(user, value, digest, version)| async move {
                let key = name_of_key(&user, node, incarnation);
                let bytes = (value.connections > 0).then(|| value.encode_to_vec().into());
                let outcome = key::write(bus, &key, bytes, version).await;
                (user, value, digest, outcome)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (user, value, digest, outcome) in outcomes {
            self.done(user, &value, digest, outcome);
        }
        let written = &self.written;
        self.presence.tell_waiting(|user| written.contains_key(user));
    }

    fn is_fresh(&self, written: &Written) -> bool {
        u128::from(self.now() - written.at) < REWRITE.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn done(&mut self, user: User, value: &UserOnNode, digest: Digest, outcome: Result<u64, BusError>) {
        let now = Written {
            digest: outcome.is_ok().then_some(digest),
            version: outcome.as_ref().ok().map(|revision| Version::Value(*revision)),
            since: value.since,
            at: self.now(),
        };
        match outcome {
            Ok(trace) if value.connections == 0 => {
                self.written.remove(&user);
                self.traces.left(user, trace);
            }
            Ok(_) => {
                self.traces.forget(&user);
                self.written.insert(user, now);
            }
            Err(error) => {
                debug!(%error, "a presence could not be written yet");
                // Whether it stands is unknown: make sure that it is written again.
                self.traces.forget(&user);
                self.written.insert(user.clone(), now);
                self.postponed.insert(user);
            }
        }
    }
}

fn digest(value: &UserOnNode) -> Digest {
    let mut hasher = DefaultHasher::new();
    value.encode_to_vec().hash(&mut hasher);
    Digest::new(hasher.finish()).unwrap_or(Digest::MIN)
}

fn name_of_key(user: &str, node: &str, incarnation: &str) -> String {
    let fact = Fact::User {
        user,
        node,
        incarnation,
    };
    fact.key()
}
