//! Three NATS servers that are one: streams have a copy on each, and outlive any of them.

use std::net::SocketAddr;

use async_nats::ServerAddr;
use serde_json::{Value, json};

use super::{NatsServer, free_port};
use crate::eventually;

/// As PROTOCOL.md's figures ask of servers: a client that does not answer is dropped within 15 seconds.
const PINGS: &str = "ping_interval: \"5s\"\nping_max: 2\n";

pub struct NatsCluster {
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Three servers that take streams of three replicas.
    pub async fn start() -> Self {
        // Somebody may take a port between our look at it and the server's; the others' routes name it, so all begin anew.
        let cluster = loop {
            let mut cluster = Self::reserve();
            if cluster.try_start().await {
                break cluster;
            }
        };
        cluster.ready().await;
        cluster
    }

    fn reserve() -> Self {
        let mut servers: Vec<NatsServer> = (0..3).map(|_| NatsServer::reserve()).collect();
        let listens: Vec<SocketAddr> = servers
            .iter()
            .map(|server| (server.address, free_port()).into())
            .collect();
        let routes: Vec<String> = listens.iter().map(|listen| format!("nats://{listen}")).collect();
        let routes = routes.join(", ");
        for (i, (server, listen)) in servers.iter_mut().zip(&listens).enumerate() {
            server.config = format!(
                "server_name: n{i}\n{PINGS}cluster {{ name: herald, listen: \"{listen}\", routes: [{routes}] }}\n"
            );
        }
        Self { servers }
    }

    async fn try_start(&mut self) -> bool {
        for server in &mut self.servers {
            if !server.try_start().await {
                return false;
            }
        }
        true
    }

    /// Waits until a stream of three replicas can be made, and takes it away again.
    async fn ready(&self) {
        let (client, name) = (self.client().await, "harness");
        let config = json!({"name": name, "subjects": [name], "num_replicas": 3, "storage": "memory"});
        eventually("the servers form a cluster", async || {
            let made = api(&client, &format!("STREAM.CREATE.{name}"), &config).await;
            made.is_some_and(|answer| answer.get("error").is_none())
        })
        .await;
        eventually("the stream is gone", async || {
            let gone = api(&client, &format!("STREAM.DELETE.{name}"), &json!({})).await;
            gone.is_some_and(|answer| answer["success"] == true || answer["error"]["code"] == 404)
        })
        .await;
    }

    /// All servers, separated by commas, as Herald's command line takes them.
    pub fn urls(&self) -> String {
        let urls: Vec<String> = self.servers.iter().map(NatsServer::url).collect();
        urls.join(",")
    }

    /// A client that finds another server when its own is gone.
    pub async fn client(&self) -> async_nats::Client {
        let servers = self.servers.iter().map(|server| server.url().parse());
        let servers: Vec<ServerAddr> = servers.collect::<Result<_, _>>().expect("URLs");
        async_nats::connect(servers).await.expect("NATS is there")
    }

    /// Which server leads the stream, by its place among `servers`. Waits until one does.
    pub async fn leader_of(&self, stream: &str) -> usize {
        let client = self.client().await;
        let mut leader = None;
        eventually(&format!("a leader of {stream}"), async || {
            let answer = api(&client, &format!("STREAM.INFO.{stream}"), &json!({})).await;
            let name = answer.as_ref().and_then(|answer| answer["cluster"]["leader"].as_str());
            leader = name.and_then(|name| name.strip_prefix('n')?.parse().ok());
            leader.is_some()
        })
        .await;
        leader.expect("found above")
    }

    /// How many copies of the stream are there and up to date, the leader's included.
    pub async fn current_replicas(&self, stream: &str) -> usize {
        let client = self.client().await;
        let answer = api(&client, &format!("STREAM.INFO.{stream}"), &json!({})).await;
        let Some(cluster) = answer.as_ref().and_then(|answer| answer.get("cluster")) else {
            return 0;
        };
        let others = cluster["replicas"].as_array().into_iter().flatten();
        1 + others
            .filter(|replica| replica["current"] == true && replica.get("offline") != Some(&json!(true)))
            .count()
    }

    /// kill -9 of one; it is gone when this returns.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].stop();
    }

    /// Starts a killed one again, on its ports and with its store.
    pub async fn restart(&mut self, server: usize) {
        self.servers[server].start_again().await;
    }
}

/// Asks JetStream's API; None where nobody answers.
pub async fn api(client: &async_nats::Client, subject: &str, body: &Value) -> Option<Value> {
    let answer = client.request(format!("$JS.API.{subject}"), body.to_string().into());
    serde_json::from_slice(&answer.await.ok()?.payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;

    #[tokio::test]
    async fn a_killed_leader_is_followed_by_another_and_comes_back() {
        let mut cluster = NatsCluster::start().await;
        let client = cluster.client().await;
        let config = json!({"name": "S", "subjects": ["s"], "num_replicas": 3});
        let made = api(&client, "STREAM.CREATE.S", &config).await;
        assert!(made.is_some_and(|made| made.get("error").is_none()));
        let first = cluster.leader_of("S").await;
        cluster.kill(first);
        eventually("another leads", async || cluster.leader_of("S").await != first).await;
        cluster.restart(first).await;
        eventually("it has caught up", async || cluster.current_replicas("S").await == 3).await;
    }
}
