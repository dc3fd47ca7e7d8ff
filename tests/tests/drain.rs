//! A node that is asked to stop: clients go one after another, requests are finished, and it says so from the first moment.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use herald_tests::{
    PATIENCE,
    backend::World,
    client::Client,
    cluster::Cluster,
    events::Events,
    eventually,
    gateway::dev_gateway_with,
    http::{DEV_API_KEY, get, post, request},
    metrics::Metrics,
    poller,
    process::{Node, binary},
    raw::Raw,
    token,
};
use serde_json::json;
use tokio::{process::Command, time::Instant};

/// How often in each quarter of the window one of `moments` fell.
fn quarters(moments: &[Duration], window: Duration) -> [usize; 4] {
    let mut counts = [0; 4];
    for moment in moments {
        let quarter = (moment.as_secs_f64() / window.as_secs_f64() * 4.0) as usize;
        counts[quarter.min(3)] += 1;
    }
    counts
}

#[tokio::test]
async fn closes_are_spread_evenly_over_the_window() {
    let window = Duration::from_secs(4);
    let mut gateway = dev_gateway_with(&["--drain", "4s"]).await;
    let address = gateway.public();
    let connects = (0..400).map(|i| async move { Client::dev(address, &format!("u{i}")).await });
    let clients = join_all(connects).await;
    let begun = Instant::now();
    gateway.terminate();
    let closes = clients.into_iter().map(|mut client| async move {
        let code = client.closed().await;
        (code, begun.elapsed())
    });
    let closes = join_all(closes).await;
    assert!(closes.iter().all(|(code, _)| *code == 4000), "{closes:?}");
    let moments: Vec<Duration> = closes.into_iter().map(|(_, at)| at).collect();
    let counts = quarters(&moments, window);
    eprintln!("closes in each quarter of the window: {counts:?}");
    // A busy machine is late with some.
    assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut gateway = dev_gateway_with(&["--drain", "10m"]).await;
    let mut clients = Vec::new();
    for i in 0..5 {
        clients.push(Client::dev(gateway.public(), &format!("u{i}")).await);
    }
    gateway.terminate();
    not_ready(gateway.admin()).await;
    let begun = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

async fn not_ready(admin: SocketAddr) {
    eventually("it says that it drains", async || {
        let ready = get(admin, "/health/ready").await;
        ready.status == 503 && ready.body.starts_with("drain: draining\n")
    })
    .await;
}

/// `Retry-After`, in seconds.
fn later(value: Option<&str>) -> u64 {
    value.expect("Retry-After").parse().expect("seconds")
}

#[tokio::test]
async fn who_comes_meanwhile_is_told_to_come_elsewhere_and_short_requests_are_served() {
    let mut gateway = dev_gateway_with(&["--drain", "20s"]).await;
    let (public, admin) = (gateway.public(), gateway.admin());
    let _stays = Client::dev(public, "stays").await;
    let alice = token::dev("alice");
    gateway.terminate();
    not_ready(admin).await;
    let raw = Raw::open(public, &format!("/ws?token={alice}"), &[]).await;
    assert!(raw.head.starts_with("HTTP/1.1 503"), "{}", raw.head);
    assert!((1..=3).contains(&later(raw.header("Retry-After"))));
    assert_eq!(raw.header("Connection"), Some("close"));
    let bearer = format!("Bearer {alice}");
    let headers = [("Authorization", bearer.as_str())];
    for (method, path) in [("GET", "/events"), ("POST", "/poll")] {
        let refused = request(public, method, path, &headers, b"").await;
        assert_eq!(refused.status, 503, "{path}: {refused:?}");
        assert!((1..=3).contains(&later(refused.header("Retry-After"))), "{path}");
        assert_eq!(refused.json()["error"]["code"], "unavailable");
    }
    let pong = request(public, "POST", "/command", &headers, br#"{"ping":{}}"#).await;
    assert_eq!((pong.status, pong.json()), (200, json!({"pong": {}})));
    gateway.terminate();
    assert_eq!(gateway.exit().await.code(), Some(0));
}

#[tokio::test]
async fn requests_that_are_under_way_are_answered() {
    // Longer than the window, which is a second.
    let world = World::start_with("timeout = \"4s\"", "").await;
    let public = world.public();
    let alice = token::dev("alice");
    let calls = (1..=4).map(|i| {
        let (service, alice) = (if i % 2 == 0 { "nats" } else { "http" }, alice.clone());
        async move {
            let call = json!({"id": i, "call": {"service": service, "method": "silent", "body": 1}});
            (i, poller::post(public, "/command", &alice, &call).await)
        }
    });
    let calls = tokio::spawn(join_all(calls));
    let poll = {
        let bob = token::dev("bob");
        tokio::spawn(async move { poller::post(public, "/poll", &bob, &json!({"wait": 50})).await })
    };
    let mut stream = Events::dev(public, &token::dev("carol")).await;
    eventually("all are under way", async || {
        let metrics = Metrics::of(world.gateway.admin()).await;
        let polls = metrics.get("herald_gateway_connections{dialect=\"poll\",state=\"connected\"}");
        metrics.get("herald_gateway_calls_in_flight") >= 4.0 && polls >= 1.0
    })
    .await;
    world.gateway.terminate();
    for (i, answer) in calls.await.unwrap() {
        assert_eq!(answer.status, 504, "its backend's answer, which is none: {answer:?}");
        assert_eq!(answer.json()["id"], i, "{answer:?}");
    }
    assert_eq!(stream.closed().await, 4000);
    let poll = poll.await.unwrap();
    assert_eq!(poll.status, 200, "{poll:?}");
    assert!(poll.json()["cursor"].is_string());
    let mut gateway = world.gateway;
    assert_eq!(gateway.exit().await.code(), Some(0));
}

/// Runs the command `drain` of a binary.
async fn ask(name: &str, admin: SocketAddr, key: &str) -> (Option<i32>, String, String) {
    let url = format!("http://{admin}");
    let command = Command::new(binary(name))
        .args(["drain", "--admin", &url, "--key", key])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, command).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn drains(node: &mut Node, name: &str) {
    let admin = node.admin();
    let (code, _, refused) = ask(name, admin, "another-key-than-the-right-one").await;
    assert_eq!(code, Some(1), "{refused}");
    assert!(refused.contains("401"), "{refused}");
    assert!(node.running());
    let (code, told, error) = ask(name, admin, DEV_API_KEY).await;
    assert_eq!(code, Some(0), "{told}{error}");
    assert!(
        told.starts_with("draining over 1s: ") && told.ends_with("drained\n"),
        "{told}"
    );
    assert_eq!(node.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_drain_can_be_asked_for_at_the_admin_listeners_and_is_waited_for() {
    let mut cluster = Cluster::start(2, 0).await;
    let urls = cluster.nats.url();
    let mut gateway = dev_gateway_with(&["--nats", &urls, "--drain", "1s"]).await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    drains(&mut gateway, "herald-gateway").await;
    assert_eq!(alice.closed().await, 4000);
    // A router serves on for two seconds; of two one stays.
    let admin = cluster.routers[0].admin();
    let refused = post(admin, "/api/v1/drain", "no-key-of-anybody", &json!({})).await;
    assert_eq!(refused.status, 401);
    let (code, told, error) = ask("herald-router", admin, DEV_API_KEY).await;
    assert_eq!(code, Some(0), "{told}{error}");
    assert!(told.ends_with("drained\n"), "{told}");
    assert_eq!(cluster.routers[0].exit().await.code(), Some(0));
    assert!(cluster.routers[1].running());
    assert_eq!(get(cluster.routers[1].admin(), "/health/ready").await.status, 200);
}
