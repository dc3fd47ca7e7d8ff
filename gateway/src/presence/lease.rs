//! This node's lease: while it stands, its incarnation's keys count.

use bytes::Bytes;
use herald_proto::{cluster::Lease, id, limits};
use herald_router::{
    bus::{Bucket, Bus, BusError},
    presence::Fact,
};
use prost::Message;

/// One incarnation of this node: a random name, and the revision of the lease that stands for it.
pub(super) struct NodeLease {
    key: String,
    pub incarnation: String,
    started: u64,
    revision: u64,
}

impl NodeLease {
    /// A new incarnation. Nothing counts before [`Self::put`].
    pub fn new(node: &str) -> Self {
        Self {
            key: Fact::Lease { node: node.to_owned() }.key(),
            incarnation: format!("{:016x}", rand::random::<u64>()),
            started: id::now_ms(),
            revision: 0,
        }
    }

    pub async fn put(&mut self, bus: &Bus) -> Result<(), BusError> {
        let put = bus
            .kv
            .put(Bucket::Presence, &self.key, self.value(), Some(limits::LEASE));
        self.revision = put.await?;
        Ok(())
    }

    /// Fails with `Conflict` where the lease has ended, or another incarnation's stands.
    pub async fn refresh(&mut self, bus: &Bus) -> Result<(), BusError> {
        let (value, ttl) = (self.value(), Some(limits::LEASE));
        let update = bus.kv.update(Bucket::Presence, &self.key, value, self.revision, ttl);
        self.revision = match update.await {
            // An earlier refresh may have been stored although it seemed to fail.
            Err(BusError::Conflict) => self.standing(bus).await?,
            outcome => outcome?,
        };
        Ok(())
    }

    /// The revision of this incarnation's lease, if it is the one that stands.
    async fn standing(&self, bus: &Bus) -> Result<u64, BusError> {
        let entry = bus.kv.get_latest(Bucket::Presence, &self.key).await?;
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
