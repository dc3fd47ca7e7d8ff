//! `deploy/up` and its fellows: a whole cluster on this machine, and nothing left of it afterwards.
#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, process::Command};

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    deployed::{Deployed, folder, told},
    eventually,
};
use serde_json::{Value, json};

const PARTS: [&str; 8] = [
    "nats-1",
    "nats-2",
    "nats-3",
    "router-1",
    "router-2",
    "gateway-1",
    "gateway-2",
    "haproxy",
];

fn node(client: &Client) -> String {
    client.connected["node"].as_str().unwrap().to_owned()
}

/// Two clients behind haproxy that are on different gateways.
async fn apart(cluster: &Deployed) -> (Client, Client) {
    let alice = cluster.client("alice").await;
    let mut others = Vec::new();
    loop {
        let bob = cluster.client("bob").await;
        if node(&bob) != node(&alice) {
            return (alice, bob);
        }
        others.push(bob);
        assert!(others.len() < 10, "haproxy knows one gateway only");
    }
}

fn pids(cluster: &Deployed) -> Vec<u32> {
    PARTS.iter().map(|part| cluster.pid(part)).collect()
}

/// The command lines of all processes.
fn processes() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.collect()
}

/// Processes that name the cluster's folder.
fn remains(cluster: &Deployed) -> Vec<String> {
    let folder = cluster.state().to_str().unwrap().to_owned();
    processes().into_iter().filter(|line| line.contains(&folder)).collect()
}

async fn is_ready(cluster: &Deployed) {
    let status = cluster.run("status", &[]).await;
    assert!(status.status.success(), "{}", told(&status));
    let text = told(&status);
    for part in PARTS {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_cluster_comes_up_serves_restarts_in_turn_and_leaves_nothing() {
    let cluster = Deployed::start().await;
    is_ready(&cluster).await;

    let (mut alice, mut bob) = apart(&cluster).await;
    alice.say(json!({"user": "bob"}), json!("over two gateways")).await;
    assert_eq!(bob.next_message().await["body"], "over two gateways");

    // A second time: what runs stays.
    let before = pids(&cluster);
    let again = cluster.run("up", &[]).await;
    assert!(again.status.success(), "{}", told(&again));
    assert_eq!(pids(&cluster), before);

    // What has died is started again.
    let killed = cluster.pid("router-1");
    assert!(
        Command::new("kill")
            .args(["-9", &killed.to_string()])
            .status()
            .unwrap()
            .success()
    );
    let again = cluster.run("up", &[]).await;
    assert!(again.status.success(), "{}", told(&again));
    assert_ne!(cluster.pid("router-1"), killed);

    // One gateway after the other: who comes back with its cursor finds what was sent meanwhile.
    let cursor = bob.next("cursor").await.as_str().unwrap().to_owned();
    drop((alice, bob));
    let restart = async {
        let restarted = cluster.run("restart", &["gateway"]).await;
        assert!(restarted.status.success(), "{}", told(&restarted));
    };
    let sent = async {
        let mut sent = Vec::new();
        while sent.len() < 20 {
            let upgrade = Upgrade::to(cluster.address("public")).dialect(Dialect::Json);
            let Ok((mut alice, _)) = upgrade.query("token", &cluster.token("alice")).try_open().await else {
                continue;
            };
            alice.connected = alice.next("connected").await;
            let body = json!({"n": sent.len()});
            alice.say(json!({"user": "bob"}), body.clone()).await;
            sent.push(body);
        }
        sent
    };
    let ((), sent) = tokio::join!(restart, sent);
    let upgrade = Upgrade::to(cluster.address("public")).query("token", &cluster.token("bob"));
    let mut bob = upgrade.query("cursor", &cursor).connect().await;
    let mut seen = Vec::new();
    for message in bob.messages(sent.len()).await {
        seen.push(message["body"].clone());
    }
    assert_eq!(seen, sent);
    is_ready(&cluster).await;

    // Another process that has got the number of one of ours is not ours.
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let note = cluster.state().join("run/prometheus-2.pid");
    std::fs::write(&note, format!("{} 1\n", stranger.id())).unwrap();
    let down = cluster.run("down", &[]).await;
    assert!(down.status.success(), "{}", told(&down));
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();

    assert_eq!(remains(&cluster), Vec::<String>::new());
    let status = cluster.run("status", &[]).await;
    assert_eq!(status.status.code(), Some(3), "{}", told(&status));
    let down = cluster.run("down", &["--purge"]).await;
    assert!(down.status.success(), "{}", told(&down));
    assert!(!cluster.state().exists());
}

#[tokio::test]
async fn no_token_comes_into_a_log() {
    let cluster = Deployed::start().await;
    let public = cluster.address("public");
    let token = |user: &str| cluster.token(user);
    let upgrade = || Upgrade::to(public).query("said", "a-query-of-ours");
    let mut tokens = HashSet::new();
    let mut noted = |user: &str| {
        let token = token(user);
        // What anybody could read of it, or use.
        tokens.extend(token.split('.').skip(1).map(str::to_owned));
        token
    };
    let bearer = format!("Bearer {}", noted("a"));
    upgrade().header("Authorization", &bearer).connect().await;
    upgrade().query("token", &noted("b")).connect().await;
    let subprotocol = format!("herald.v1.json, bearer.{}", noted("c"));
    upgrade().header("Sec-WebSocket-Protocol", &subprotocol).connect().await;
    let cookie = format!("token={}", noted("d"));
    upgrade().header("Cookie", &cookie).connect().await;
    // And where something is wrong, for errors are written elsewhere than requests.
    let bad = format!("{}x", noted("e"));
    let (mut refused, _) = upgrade().query("token", &bad).open().await.unwrap();
    assert_eq!(refused.closed().await, 4100);
    let log = || cluster.read("run/haproxy.log");
    eventually("haproxy has written of all of them", async || {
        log().matches(" /ws ").count() >= 5
    })
    .await;
    for part in PARTS {
        let log = cluster.read(&format!("run/{part}.log"));
        for token in &tokens {
            assert!(!log.contains(token), "{part} has written a token");
        }
        assert!(!log.contains("a-query-of-ours"), "{part} has written a query:\n{log}");
    }
    let line = log().lines().find(|line| line.contains(" /ws 101 ")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("{}", log()));
    assert!(line.starts_with("127.0.0.1 "), "{line}");
}

/// Nobody may say from where it comes but haproxy.
#[tokio::test]
async fn the_client_s_address_is_the_one_that_haproxy_saw() {
    let cluster = Deployed::start().await;
    let upgrade = Upgrade::to(cluster.address("public")).query("token", &cluster.token("alice"));
    let liar = upgrade
        .header("X-Forwarded-For", "203.0.113.9")
        .header("Forwarded", "for=203.0.113.9");
    let _alice = liar.connect().await;
    let key = format!("Bearer {}", cluster.secret("api-key"));
    let admin = cluster.address("gateway-1-admin");
    eventually("the server API knows of her", async || {
        let headers = [("Authorization", key.as_str())];
        let answer = herald_tests::http::request(admin, "GET", "/api/v1/users/alice", &headers, b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let connections: Value = answer.json()["connections"].clone();
        let addresses: Vec<&Value> = connections.as_array().unwrap().iter().map(|c| &c["address"]).collect();
        !addresses.is_empty() && addresses.iter().all(|address| **address == "127.0.0.1")
    })
    .await;
}

#[tokio::test]
async fn without_its_binaries_it_starts_nothing_and_says_so() {
    let state = tempfile::TempDir::new().unwrap();
    let up = Command::new(folder().join("up"))
        .arg("--state")
        .arg(state.path())
        .args(["--free-ports", "--bin-dir", "/nowhere"])
        .output()
        .unwrap();
    let told = told(&up);
    assert!(!up.status.success(), "{told}");
    assert!(
        told.contains("no herald-gateway in /nowhere") && !told.contains("Traceback"),
        "{told}"
    );
    let names_it = |line: &str| line.contains(state.path().to_str().unwrap());
    assert!(!processes().iter().any(|line| names_it(line)), "nothing runs");
}
