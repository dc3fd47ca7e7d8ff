//! Whose tokens are refused although they are good: the application has kicked the user since they were issued.
//!
//! The table follows its bucket. A token is looked up here when it is shown; and when news of a revocation come, those
//! who are connected with such a token already are closed, so that it does not matter which came first.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use herald_proto::{CloseCode, cluster::Revocation, subject};
use herald_router::bus::{Bucket, Bus, BusError, KvEvent};
use prost::Message;
use tracing::{debug, warn};

use crate::hub::Hub;

/// Before a watch that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Default)]
pub struct Revoked {
    /// By user: up to when issued tokens are refused, in Unix milliseconds.
    upto: DashMap<Box<str>, u64>,
    current: AtomicBool,
}

impl Revoked {
    /// `issued` is None where the token does not tell.
    pub fn refuses(&self, user: &str, issued: Option<u64>) -> bool {
        let upto = self.upto.get(user);
        upto.is_some_and(|upto| issued.is_none_or(|issued| issued <= *upto))
    }

    /// Up to when this user's tokens are refused, in Unix milliseconds.
    pub fn upto(&self, user: &str) -> Option<u64> {
        self.upto.get(user).map(|upto| *upto)
    }

    /// Whether all that is revoked has been heard of once.
    pub fn is_known(&self) -> bool {
        self.current.load(Ordering::Relaxed)
    }

    /// Follows the bucket until dropped.
    pub async fn run(&self, bus: &Bus, hub: &Arc<Hub>) {
        loop {
            match self.follow(bus, hub).await {
                Ok(()) => debug!("the watch of revocations ended"),
                Err(error) => debug!(%error, "revocations cannot be watched yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&self, bus: &Bus, hub: &Arc<Hub>) -> Result<(), BusError> {
        let mut watch = bus.kv.watch(Bucket::Revoked, "").await?;
        // Until all is told again, what stood before goes on to stand.
        let mut told = Some(HashSet::new());
        while let Some(event) = watch.next().await {
            match event {
                KvEvent::Put { key, value, .. } => {
                    if let Some((user, upto)) = revocation(&key, value) {
                        if let Some(told) = &mut told {
                            told.insert(user.clone());
                        }
                        self.upto.insert(user.clone(), upto);
                        self.close(hub, &user);
                    }
                }
                KvEvent::Delete { key, .. } => {
                    if let Some(user) = subject::unescape(&key) {
                        self.upto.remove(user.as_str());
                    }
                }
                KvEvent::Reset => told = Some(HashSet::new()),
                KvEvent::Current => {
                    if let Some(told) = told.take() {
                        self.upto.retain(|user, _| told.contains(user));
                    }
                    self.current.store(true, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    fn close(&self, hub: &Hub, user: &str) {
        for conn in hub.local_connections(user) {
            if self.refuses(user, conn.issued()) {
                conn.close(CloseCode::Kicked);
            }
        }
    }
}

fn revocation(key: &str, value: bytes::Bytes) -> Option<(Box<str>, u64)> {
    let user = subject::unescape(key);
    match (user, Revocation::decode(value)) {
        (Some(user), Ok(revocation)) => Some((user.into(), revocation.upto)),
        _ => {
            warn!(key, "an unreadable revocation");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_issued_after_it_pass() {
        let revoked = Revoked::default();
        assert!(!revoked.refuses("bob", None));
        revoked.upto.insert("bob".into(), 5_000);
        assert!(revoked.refuses("bob", None) && revoked.refuses("bob", Some(5_000)));
        assert!(!revoked.refuses("bob", Some(5_001)) && !revoked.refuses("alice", None));
    }
}
