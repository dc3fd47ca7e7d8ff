//! Events brought to the application's own HTTP servers. One router delivers to each webhook: whoever holds its lease. It
//! reads the events in their one order from where the last one came to, so that those of one user come in order; the place is
//! kept in the bucket after each batch that was accepted. A router that dies leaves its lease, which ends, and its place, from
//! where another goes on: some events may come twice, and their ids tell.
//!
//! Each webhook has a task of its own: one that is slow or dead delays nobody else.

use std::{sync::Arc, time::Duration};

use herald_proto::subject::Names;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    bus::{Bus, BusError},
    config::WebhookSettings,
    outgoing::Fault,
};

mod delivery;
mod lease;
mod pace;
mod request;
pub mod signature;

use delivery::Delivery;
use lease::Lease;
use request::Sender;

/// How often one that has no lease looks whether it can be had.
const LOOK: Duration = Duration::from_secs(1);

/// Starts delivering, as far as this router gets the leases. `node` is its name, and what it delivers happened after
/// `since_ms`, where no router has delivered to the webhook before.
pub fn start(
    bus: &Bus,
    names: &Names,
    node: &str,
    webhooks: &[WebhookSettings],
    since_ms: u64,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<(), Fault> {
    for settings in webhooks {
        let webhook = Webhook {
            bus: bus.clone(),
            sender: Sender::new(settings)?,
            settings: Arc::new(settings.clone()),
            node: node.to_owned(),
            hints: names.event(">"),
            since_ms,
        };
        let stop = stop.clone();
        tasks.spawn(async move { webhook.run(&stop).await });
    }
    Ok(())
}

struct Webhook {
    bus: Bus,
    settings: Arc<WebhookSettings>,
    sender: Sender,
    node: String,
    /// Any event's subject.
    hints: String,
    since_ms: u64,
}

impl Webhook {
    async fn run(&self, stop: &CancellationToken) {
        let name = &self.settings.name;
        while !stop.is_cancelled() {
            match Lease::take(&self.bus, name, &self.node).await {
                Ok(lease) => {
                    info!(webhook = name, "this router delivers");
                    let work = lease.hold(&self.bus, self.deliver());
                    if let Some(Err(error)) = stop.run_until_cancelled(work).await {
                        warn!(webhook = name, %error, "this router delivers no more");
                    }
                    lease.give_up(&self.bus).await;
                }
                Err(BusError::Conflict) => {}
                Err(error) => debug!(webhook = name, %error, "no lease yet"),
            }
            stop.run_until_cancelled(sleep(LOOK)).await;
        }
    }

    /// Ends only by a failure of the bus.
    async fn deliver(&self) -> Result<(), BusError> {
        let delivery = Delivery::begin(&self.bus, self.hints.clone(), &self.settings, self.since_ms).await?;
        delivery.run(&self.sender).await
    }
}
