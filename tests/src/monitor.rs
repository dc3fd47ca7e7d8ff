//! What a NATS server counts: who is connected, what each has subscribed to, and how much each was sent.

use serde_json::{Value, json};

/// A look at the connections of one NATS server, from one of its clients.
pub struct Monitor {
    client: async_nats::Client,
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
