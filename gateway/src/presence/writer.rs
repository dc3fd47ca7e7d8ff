//! The one task that writes this node's presence keys and its lease.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use herald_proto::{
    cluster::{Lease, UserOnNode},
    id, limits, subject,
};
use herald_router::bus::{Bucket, Bus, BusError};
use prost::Message;
use tracing::{debug, warn};

use super::{Presence, REWRITE, User};
use crate::hub::Hub;

/// Operations in flight at once, each on another key.
const AT_ONCE: usize = 64;

pub(super) struct Writer {
    presence: Arc<Presence>,
    hub: Arc<Hub>,
    lease: NodeLease,
    /// The keys that stand, as far as this task knows.
    written: HashMap<User, Written>,
    /// To be looked at again with the next tick.
    postponed: HashSet<User>,
}

struct Written {
    connections: u32,
    at: Instant,
}

/// One incarnation of this node: a random name, and the revision of the lease that stands for it.
struct NodeLease {
    incarnation: String,
    started: u64,
    revision: u64,
}

impl Writer {
    pub async fn begin(presence: Arc<Presence>, hub: Arc<Hub>) -> Self {
        let lease = NodeLease::begin(&presence).await;
        Self {
            presence,
            hub,
            lease,
            written: HashMap::new(),
            postponed: HashSet::new(),
        }
    }

    pub async fn refresh_lease(&mut self) {
        match self.lease.refresh(&self.presence).await {
            Ok(()) => {}
            Err(BusError::Conflict) => {
                warn!("the node's lease was lost: its users are announced again");
                self.lease = NodeLease::begin(&self.presence).await;
                let users = self.written.drain().map(|(user, _)| user).collect();
                self.write(users).await;
            }
            // It is tried again in a third of the lease's time.
            Err(error) => debug!(%error, "the node's lease could not be refreshed"),
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
            let value = self.value(&user);
            match self.written.get(&user) {
                None if value.connections == 0 => {}
                Some(known) if known.connections == value.connections => {}
                // Online is online: that the number has changed may wait.
                Some(known) if value.connections > 0 && known.at.elapsed() < REWRITE => {
                    self.postponed.insert(user);
                }
                _ => jobs.push((user, value)),
            }
        }
        let (bus, node, incarnation) = (&self.presence.bus, &self.presence.node, &self.lease.incarnation);
        let outcomes: Vec<_> = stream::iter(jobs)
            .map(|(user, value)| async move {
                let key = subject::key(&["u", &user, node, incarnation]);
                let outcome = write_key(bus, &key, &value).await;
                (user, value.connections, outcome)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (user, connections, outcome) in outcomes {
            self.done(user, connections, outcome);
        }
        let written = &self.written;
        self.presence.tell_waiting(|user| written.contains_key(user));
    }

    fn done(&mut self, user: User, connections: u32, outcome: Result<(), BusError>) {
        match outcome {
            Ok(()) if connections > 0 => {
                let at = Instant::now();
                self.written.insert(user, Written { connections, at });
            }
            Ok(()) => {
                self.written.remove(&user);
            }
            Err(error) => {
                debug!(%error, "a presence could not be written yet");
                // Whether it stands is unknown: make sure that it is written again.
                self.written
                    .entry(user.clone())
                    .and_modify(|known| known.connections = u32::MAX);
                self.postponed.insert(user);
            }
        }
    }

    fn value(&self, user: &User) -> UserOnNode {
        let conns = self.hub.local_connections(user);
        let members: Vec<_> = conns.iter().filter_map(|conn| conn.member()).collect();
        UserOnNode {
            connections: u32::try_from(conns.len()).unwrap_or(u32::MAX),
            since: members.iter().map(|m| m.since).min().unwrap_or_else(id::now_ms),
            infos: Vec::new(),
        }
    }
}

async fn write_key(bus: &Bus, key: &str, value: &UserOnNode) -> Result<(), BusError> {
    if value.connections == 0 {
        return bus.kv.delete(Bucket::Presence, key).await;
    }
    let value = Bytes::from(value.encode_to_vec());
    bus.kv.put(Bucket::Presence, key, value, None).await.map(drop)
}

impl NodeLease {
    /// Puts the lease of a new incarnation; tries until it stands, for without it no presence counts.
    async fn begin(presence: &Presence) -> Self {
        let mut lease = Self {
            incarnation: format!("{:016x}", rand::random::<u64>()),
            started: id::now_ms(),
            revision: 0,
        };
        loop {
            let key = subject::key(&["n", &presence.node]);
            let put = presence
                .bus
                .kv
                .put(Bucket::Presence, &key, lease.value(), Some(limits::LEASE));
            match put.await {
                Ok(revision) => {
                    lease.revision = revision;
                    return lease;
                }
                Err(error) => debug!(%error, "the node's lease cannot be put yet"),
            }
            tokio::time::sleep(REWRITE).await;
        }
    }

    async fn refresh(&mut self, presence: &Presence) -> Result<(), BusError> {
        let key = subject::key(&["n", &presence.node]);
        let (value, ttl) = (self.value(), Some(limits::LEASE));
        let update = presence
            .bus
            .kv
            .update(Bucket::Presence, &key, value, self.revision, ttl);
        self.revision = match update.await {
            // An earlier refresh may have been stored although it seemed to fail.
            Err(BusError::Conflict) => self.standing(presence, &key).await?,
            outcome => outcome?,
        };
        Ok(())
    }

    /// The revision of this incarnation's lease, if it is the one that stands.
    async fn standing(&self, presence: &Presence, key: &str) -> Result<u64, BusError> {
        let entry = presence.bus.kv.get_latest(Bucket::Presence, key).await?;
        let own = entry.filter(|entry| entry.value == self.value());
        own.map(|entry| entry.revision).ok_or(BusError::Conflict)
    }

    fn value(&self) -> Bytes {
        let lease = Lease {
            incarnation: self.incarnation.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
        };
        lease.encode_to_vec().into()
    }
}
