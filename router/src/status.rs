//! How a node is, told to whoever asks over the bus: gateways answer the application's question for all nodes with it.

use std::time::Duration;

use bytes::Bytes;
use herald_proto::{cluster::NodeStatus, subject::Names};
use prost::Message;
use tracing::debug;

use crate::{
    bus::{Bus, BusError},
    health::Condition,
};

/// A node that does not answer within this is not well.
const WITHIN: Duration = Duration::from_secs(1);
/// Before a subscription that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

pub async fn ask(bus: &Bus, names: &Names, node: &str) -> Result<NodeStatus, BusError> {
    let subject = names.node_status(node);
    let answer = bus.pubsub.request(&subject, Bytes::new(), WITHIN).await?;
    NodeStatus::decode(answer).map_err(|error| BusError::Refused(error.to_string()))
}

/// What follows from what must hold.
pub fn of(conditions: &[Condition]) -> NodeStatus {
    let faults = conditions.iter().filter_map(|condition| {
        let fault = condition.fault.as_ref()?;
        Some(format!("{}: {fault}", condition.name))
    });
    let why = faults.collect::<Vec<_>>().join("; ");
    NodeStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: why.is_empty(),
        why,
        ..NodeStatus::default()
    }
}

/// Answers until dropped.
pub async fn tell(bus: &Bus, names: &Names, node: &str, now: impl Fn() -> NodeStatus) {
    loop {
        if let Err(error) = tell_all(bus, &names.node_status(node), &now).await {
            debug!(%error, "nobody can ask this node yet how it is");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn tell_all(bus: &Bus, subject: &str, now: impl Fn() -> NodeStatus) -> Result<(), BusError> {
    let mut requests = bus.pubsub.subscribe(subject).await?;
    while let Some(request) = requests.next().await {
        if let Err(error) = request.reply.send(now().encode_to_vec().into()).await {
            debug!(%error, "a question could not be answered");
        }
    }
    Ok(())
}
