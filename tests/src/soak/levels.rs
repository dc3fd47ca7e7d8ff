//! How much there is of what may grow, at one moment.

use std::{collections::BTreeMap, fs, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    metrics::Metrics,
    nats::cluster::{NatsCluster, api},
    process::Node,
    usage::Usage,
};

/// Buckets of `--dev`. In that of presence markers of what was deleted stand for a while, and the keys of a gateway that was killed
/// for a minute, so that it has no level from day to day: see [`left_connections`].
const BUCKETS: [&str; 5] = ["GROUPS", "SESSIONS", "REVOKED", "CURSORS", "HOOKS"];
const PRESENCE: &str = "herald-dev_PRESENCE";
/// Longer than the keys of a gateway that was killed stand.
const SETTLED: Duration = Duration::from_secs(100);
/// For the servers' answers to a question that all of them hear.
const ANSWERS: Duration = Duration::from_secs(2);

/// By what it is; memory in MiB.
#[derive(Debug, Clone, Default)]
pub(super) struct Levels(pub BTreeMap<String, f64>);

impl Levels {
    pub async fn of(gateways: &[Node], routers: &[Node], nats: &NatsCluster) -> Self {
        let mut levels = Self::default();
        for (kind, nodes) in [("gateway", gateways), ("router", routers)] {
            for (i, node) in nodes.iter().enumerate() {
                let name = format!("{kind} {i}");
                // The others are killed now and then: what they have grown by is gone with them.
                if i == 0 {
                    levels.memory(&name, node.id());
                }
                levels.put(&name, "file descriptors", descriptors(node.id()));
                let metrics = Metrics::of(node.admin()).await;
                levels.put(&name, "tasks", metrics.get("herald_runtime_tasks"));
                if kind == "gateway" {
                    levels.put(&name, "connections", metrics.sum("herald_gateway_connections", &[]));
                }
            }
        }
        let client = nats.client().await;
        let (connections, subscriptions) = connections(&client, nats.servers.len()).await;
        levels.put("NATS", "connections", connections);
        levels.put("NATS", "subscriptions", subscriptions);
        for bucket in BUCKETS {
            let stream = format!("STREAM.INFO.KV_herald-dev_{bucket}");
            let answer = api(&client, &stream, &json!({})).await.expect("the bucket is there");
            let keys = answer["state"]["messages"].as_f64().expect("a count");
            levels.put(bucket, "keys", keys);
        }
        levels
    }

    fn put(&mut self, of: &str, what: &str, level: f64) {
        self.0.insert(format!("{what} of {of}"), level);
    }

    fn memory(&mut self, of: &str, id: u32) {
        self.put(of, "memory", Usage::of(id).memory as f64 / f64::from(1 << 20));
    }
}

/// How many keys still tell of connections when all have gone, and stay.
pub(super) async fn left_connections(nats: &NatsCluster) -> usize {
    let end = Instant::now() + SETTLED;
    let jetstream = async_nats::jetstream::new(nats.client().await);
    let bucket = jetstream.get_key_value(PRESENCE).await.expect("the bucket is there");
    loop {
        let keys = bucket.keys().await.expect("NATS is there");
        let keys: Vec<String> = keys.try_collect().await.expect("all keys");
        let left = keys.iter().filter(|key| key.starts_with("u.")).count();
        if left == 0 || Instant::now() >= end {
            return left;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn descriptors(id: u32) -> f64 {
    fs::read_dir(format!("/proc/{id}/fd"))
        .expect("the process runs, on Linux")
        .count() as f64
}

/// How many connections the nodes have to all servers together, and how many subscriptions by these.
async fn connections(client: &async_nats::Client, servers: usize) -> (f64, f64) {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("a subscription");
    let question = json!({"limit": 1000}).to_string();
    let asked = client.publish_with_reply("$SYS.REQ.ACCOUNT.PING.CONNZ", inbox, question.into());
    asked.await.expect("NATS is there");
    let (mut count, mut subscriptions) = (0.0, 0.0);
    for _ in 0..servers {
        let answer = timeout(ANSWERS, answers.next()).await.ok().flatten();
        let answer = answer.expect("every server answers");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        let connections = answer["data"]["connections"].as_array().into_iter().flatten();
        // Those of this test have no name.
        for connection in connections.filter(|connection| connection["name"].is_string()) {
            count += 1.0;
            subscriptions += connection["subscriptions"].as_f64().unwrap_or_default();
        }
    }
    (count, subscriptions)
}
