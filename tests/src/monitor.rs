//! What a NATS server counts: who is connected, what each has subscribed to, and how much each was sent.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A look at the connections of one NATS server, from one of its clients.
pub struct Monitor {
    client: async_nats::Client,
}

/// Counts until it is dropped.
pub struct Counter {
    count: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Counter {
    pub fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One subscription of one connection.
#[derive(Debug)]
pub struct Subscription {
    /// The connection's id.
    pub connection: u64,
    pub subject: String,
    /// How many messages were delivered to it.
    pub messages: u64,
}

impl Monitor {
    pub async fn of(url: &str) -> Self {
        let client = async_nats::connect(url).await.expect("NATS is there");
        Self { client }
    }

    async fn connections(&self) -> Vec<Value> {
        let question = json!({"subscriptions": true, "subscriptions_detail": true, "limit": 1000});
        let answer = self
            .client
            .request("$SYS.REQ.ACCOUNT.PING.CONNZ", question.to_string().into());
        let answer = answer.await.expect("an account may ask about its own connections");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        answer["data"]["connections"].as_array().expect("connections").clone()
    }

    /// The connection of a node, by the node's id.
    async fn connection(&self, node: &str) -> Option<Value> {
        let connections = self.connections().await;
        connections.into_iter().find(|connection| connection["name"] == node)
    }

    pub async fn is_connected(&self, node: &str) -> bool {
        self.connection(node).await.is_some()
    }

    /// How many messages the server has taken from a node.
    pub async fn taken_from(&self, node: &str) -> u64 {
        let connection = self.connection(node).await.expect("the node is connected");
        connection["in_msgs"].as_u64().expect("a count")
    }

    /// Counts messages on a subject, wildcards allowed, from now on.
    pub async fn count(&self, subject: &str) -> Counter {
        let mut subscriber = self.client.subscribe(subject.to_owned()).await.expect("a subscription");
        // Once the server has answered a question it knows of the subscription, too.
        self.connections().await;
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let task = tokio::spawn(async move {
            while subscriber.next().await.is_some() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Counter { count, task }
    }

    /// All subscriptions whose subject ends with `suffix`.
    pub async fn subscriptions(&self, suffix: &str) -> Vec<Subscription> {
        let mut found = Vec::new();
        for connection in self.connections().await {
            for detail in connection["subscriptions_list_detail"].as_array().into_iter().flatten() {
                let subject = detail["subject"].as_str().unwrap_or_default();
                if subject.ends_with(suffix) {
                    found.push(Subscription {
                        connection: connection["cid"].as_u64().unwrap_or_default(),
                        subject: subject.to_owned(),
                        messages: detail["msgs"].as_u64().unwrap_or_default(),
                    });
                }
            }
        }
        found
    }
}
