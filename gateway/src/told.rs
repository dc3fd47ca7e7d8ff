//! What routers tell this node alone: a user has left a group. The user's log says so too; but the answer to the client
//! that left must hold here before it is given, whatever messages are on their way.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::cluster::MemberLeft;
use herald_router::bus::{Bus, BusError, Request};
use prost::Message;
use tracing::{debug, warn};

use crate::hub::{Hub, membership::Change};

/// Before a subscription that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Works until dropped.
pub async fn run(bus: &Bus, subject: &str, hub: &Arc<Hub>) {
    loop {
        match listen(bus, subject, hub).await {
            Ok(()) => debug!("routers cannot speak to this node any more"),
            Err(error) => debug!(%error, "routers cannot speak to this node yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen(bus: &Bus, subject: &str, hub: &Arc<Hub>) -> Result<(), BusError> {
    let mut requests = bus.pubsub.subscribe(subject).await?;
    while let Some(Request { payload, reply, .. }) = requests.next().await {
        match MemberLeft::decode(payload) {
            Ok(left) => follow(hub, left).await,
            Err(error) => warn!(%error, "an unreadable word from a router"),
        }
        if let Err(error) = reply.send(Bytes::new()).await {
            debug!(%error, "a router could not be answered");
        }
    }
    Ok(())
}

async fn follow(hub: &Arc<Hub>, left: MemberLeft) {
    let change = Change {
        user: left.user.into(),
        group: left.group.into(),
        sequence: left.sequence,
        joined: false,
    };
    if let Err(error) = hub.apply(&change).await {
        debug!(%error, "a leave could not be followed; the user's log tells of it");
    }
}
