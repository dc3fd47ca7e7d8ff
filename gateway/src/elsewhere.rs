//! A user's connections on other nodes, asked of those nodes themselves. What routers tell is a moment old: before a client
//! is refused for having too many, it is made sure that they are there. A node that has died has none.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use herald_proto::{
    cluster::{UserCommand, UserConnection, UserOnNode},
    subject::Names,
};
use herald_router::bus::{Bus, BusError, Request};
use prost::Message;
use tracing::{debug, warn};

use crate::{hub::Hub, presence::Source};

/// A node that does not answer within this is believed to be as it was told.
const WITHIN: Duration = Duration::from_secs(1);
/// Before a subscription that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// `told`, as it is now.
pub async fn ask(bus: &Bus, names: &Names, user: &str, told: &[UserConnection]) -> Vec<UserConnection> {
    let mut nodes: BTreeMap<&str, Vec<UserConnection>> = BTreeMap::new();
    for connection in told {
        nodes.entry(&connection.node).or_default().push(connection.clone());
    }
    let question = UserCommand { user: user.to_owned() };
    let question = Bytes::from(question.encode_to_vec());
    let answers = nodes.into_iter().map(|(node, told)| {
        let question = question.clone();
        async move {
            match ask_node(bus, names, node, question).await {
                Ok(now) => now,
                Err(error) => {
                    debug!(%error, "a node does not say who is there");
                    told
                }
            }
        }
    });
    join_all(answers).await.concat()
}

async fn ask_node(bus: &Bus, names: &Names, node: &str, question: Bytes) -> Result<Vec<UserConnection>, BusError> {
    let subject = names.node_connections(node);
    let answer = match bus.pubsub.request(&subject, question, WITHIN).await {
        Err(BusError::NoResponders) => return Ok(Vec::new()),
        answer => answer?,
    };
    let there = UserOnNode::decode(answer).map_err(|error| BusError::Refused(error.to_string()))?;
    let connections = there.infos.into_iter().map(|info| UserConnection {
        node: node.to_owned(),
        info: Some(info),
    });
    Ok(connections.collect())
}

/// Answers other nodes, until dropped.
pub async fn run(bus: &Bus, subject: &str, hub: &Arc<Hub>) {
    loop {
        if let Err(error) = answer_all(bus, subject, hub).await {
            debug!(%error, "other nodes cannot ask this one yet");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn answer_all(bus: &Bus, subject: &str, hub: &Arc<Hub>) -> Result<(), BusError> {
    let mut requests = bus.pubsub.subscribe(subject).await?;
    while let Some(Request { payload, reply, .. }) = requests.next().await {
        match UserCommand::decode(payload) {
            Ok(question) => {
                let there = hub.on_node(&question.user);
                if let Err(error) = reply.send(there.encode_to_vec().into()).await {
                    debug!(%error, "a node could not be answered");
                }
            }
            Err(error) => warn!(%error, "an unreadable question of a node"),
        }
    }
    Ok(())
}
