//! Tells the log every second that time goes on: gateways cannot know that they have missed nothing unless something
//! comes after it. And tells the presence bucket, by this router's own lease: whoever watches it knows by that whether
//! leases can be refreshed.

use std::time::Duration;

use herald_proto::{cluster::Lease, id, limits};
use prost::Message;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    bus::{Bucket, Bus},
    presence::Fact,
};

const EVERY: Duration = Duration::from_secs(1);

/// Beats while `serving`, until shutdown. Of several routers each does, so that one that dies is not missed.
pub(crate) fn start(
    bus: Bus,
    node: String,
    mut serving: watch::Receiver<bool>,
    shutdown: CancellationToken,
    tasks: &TaskTracker,
) {
    let lease = Lease {
        incarnation: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: id::now_ms(),
        process: String::new(),
    };
    let (key, lease) = (Fact::Router { node }.key(), bytes::Bytes::from(lease.encode_to_vec()));
    tasks.spawn(async move {
        let beats = async {
            // An error means that the service has ended.
            while serving.wait_for(|serving| *serving).await.is_ok() {
                let put = bus.kv.put(Bucket::Presence, &key, lease.clone(), Some(limits::LEASE));
                let (beat, lease) = tokio::join!(bus.log.beat(), put);
                if let Err(error) = beat.and(lease.map(drop)) {
                    debug!(%error, "no beat");
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        shutdown.run_until_cancelled(beats).await;
    });
}
