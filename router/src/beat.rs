//! Tells the log every second that time goes on: gateways cannot know that they have missed nothing unless something
//! comes after it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::bus::Log;

const EVERY: Duration = Duration::from_secs(1);

/// Beats while `serving`, until shutdown. Of several routers each does, so that one that dies is not missed.
pub(crate) fn start(
    log: Arc<dyn Log>,
    mut serving: watch::Receiver<bool>,
    shutdown: CancellationToken,
    tasks: &TaskTracker,
) {
    tasks.spawn(async move {
        let beats = async {
            // An error means that the service has ended.
            while serving.wait_for(|serving| *serving).await.is_ok() {
                if let Err(error) = log.beat().await {
                    debug!(%error, "no beat");
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        shutdown.run_until_cancelled(beats).await;
    });
}
