//! The table of presences: what the watch tells, what follows from the time alone, and what one router does for all.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use herald_proto::{
    cluster::{LastSeen, Lease},
    subject,
};
use prost::Message;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info};

use crate::{
    bus::{Bucket, BusError, KvEvent},
    core::Router,
    metrics,
    presence::{self, Fact, Lapsed},
};

/// How often the table is told the time.
const TICK: Duration = Duration::from_millis(250);
/// How often keys without a lease are looked for.
const CLEANUP: Duration = Duration::from_secs(5);
/// One who is offline for so long is written down as last seen; who only reconnects is not.
const SETTLED: Duration = Duration::from_secs(5);
/// Such writes at once.
const AT_ONCE: usize = 64;

pub(super) fn apply(router: &Router, events: &[KvEvent]) {
    // By tokio's clock, so that it can be turned in tests.
    let now = tokio::time::Instant::now().into_std();
    let mut directory = router.directory.write();
    directory.presence_mut(|table| {
        for event in events {
            presence::apply(table, event, now, |_, _| true);
        }
    });
}

/// Works until dropped.
pub(super) async fn upkeep(router: Router, node: String) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cleanup = interval(CLEANUP);
    cleanup.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone = HashMap::new();
    loop {
        tokio::select! {
            now = tick.tick() => {
                let first = pass_time(&router, &node, now.into_std(), &mut gone);
                write_down(&router, first).await;
            }
            now = cleanup.tick() => clean(&router, now.into_std()).await,
        }
    }
}

/// Tells the time. Returns who is to be written down as last seen by this router, and when. `gone` are those of whom it
/// is not known to be written, by any router: should the first one die, the next still knows them.
fn pass_time(router: &Router, node: &str, now: Instant, gone: &mut HashMap<Arc<str>, Instant>) -> Vec<(Arc<str>, u64)> {
    let mut directory = router.directory.write();
    directory.presence_mut(|table| table.tick(now));
    for user in directory.take_gone() {
        gone.insert(user, now);
    }
    let sessions = directory.presence().session_count();
    metrics::directory(directory.online_count(), sessions, directory.group_count());
    drop(directory);

    let directory = router.directory.read();
    let table = directory.presence();
    let first = table.is_first_router(node);
    let mut settled = Vec::new();
    gone.retain(|user, since| {
        let time = table.unwritten(user).filter(|_| !table.is_online(user));
        let Some(time) = time else { return false };
        if first && now.duration_since(*since) >= SETTLED {
            settled.push((user.clone(), time));
            // Tried again where that fails, unless the watch says that it was done.
            *since = now;
        }
        true
    });
    settled
}

async fn write_down(router: &Router, seen: Vec<(Arc<str>, u64)>) {
    let kept = router.policy().last_seen_kept;
    if kept.is_zero() {
        return;
    }
    let writes = stream::iter(seen).map(|(user, time)| async move {
        let key = Fact::Seen { user: user.to_string() }.key();
        let value = Bytes::from(LastSeen { time }.encode_to_vec());
        if let Err(error) = router.bus.kv.put(Bucket::Presence, &key, value, Some(kept)).await {
            // This router knows it all the same, for as long as it lives.
            debug!(%error, "when a user was last seen could not be written down");
        }
    });
    writes.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Takes away the keys of nodes that have died. They do not count any more; here they only stop taking room.
async fn clean(router: &Router, now: Instant) {
    let lapsed = router.directory.read().presence().lapsed(now);
    for one in lapsed {
        match purge(router, &one).await {
            Ok(keys) => info!(node = one.node, keys, "the keys of a node that is gone were taken away"),
            Err(error) => {
                debug!(%error, "keys of a node that is gone cannot be taken away yet");
                continue;
            }
        }
        let mut directory = router.directory.write();
        directory.presence_mut(|table| table.forget(&one.node, &one.incarnation));
    }
}

async fn purge(router: &Router, lapsed: &Lapsed) -> Result<u64, BusError> {
    let kv = &router.bus.kv;
    // What this router knows may be old: an incarnation that lives must not lose its keys.
    let key = Fact::Lease {
        node: lapsed.node.clone(),
    }
    .key();
    let lease = kv.get_latest(Bucket::Presence, &key).await?;
    let lease = lease.and_then(|entry| Lease::decode(entry.value).ok());
    if lease.is_some_and(|lease| lease.incarnation == lapsed.incarnation) {
        return Err(BusError::Conflict);
    }
    let of_node = subject::key(&[&lapsed.node, &lapsed.incarnation]);
    kv.purge(Bucket::Presence, &format!("u.*.{of_node}")).await
}
