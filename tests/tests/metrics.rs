//! What a node that has had work shows at `/metrics`: all of it described, in base units, and bounded however many users,
//! groups and services there were.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::Cluster,
    eventually,
    gateway::{API_KEY, Config, SECRET, dev_gateway},
    http,
    metrics::Metrics,
    raw::Raw,
    token,
};
use serde_json::json;

/// More series than this a node shows for no reason: histograms have 18 buckets each.
const SERIES: usize = 1_500;

/// The series, by the name of their family; and what is wrong with how they are described.
struct Page {
    series: BTreeMap<String, Vec<String>>,
    faults: Vec<String>,
}

impl Page {
    async fn of(admin: SocketAddr) -> Self {
        let text = http::get(admin, "/metrics").await.body;
        let (mut helps, mut kinds) = (BTreeSet::new(), BTreeMap::new());
        for line in text.lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(_)) => drop(helps.insert(name.to_owned())),
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    drop(kinds.insert(name.to_owned(), kind.to_owned()))
                }
                _ => {}
            }
        }
        let (mut series, mut faults): (BTreeMap<String, Vec<String>>, Vec<String>) = Default::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let name = line.split(['{', ' ']).next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let family = name.strip_suffix(end)?;
                (kinds.get(family)? == "histogram").then_some(family)
            });
            let family = of_histogram.unwrap_or(name);
            series.entry(family.to_owned()).or_default().push(line.to_owned());
        }
        for name in series.keys() {
            let kind = kinds.get(name).map_or("", String::as_str);
            if !helps.contains(name) || kind.is_empty() {
                faults.push(format!("{name} has no help or no type"));
            }
            if (kind == "counter") != name.ends_with("_total") {
                faults.push(format!("{name} is a {kind}"));
            }
            if kind == "histogram" && !["_seconds", "_receivers"].iter().any(|unit| name.ends_with(unit)) {
                faults.push(format!("{name} has no unit"));
            }
        }
        Self { series, faults }
    }

    fn count(&self) -> usize {
        self.series.values().map(Vec::len).sum()
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.series.values().flatten()
    }
}

async fn work(gateway: SocketAddr, users: usize) {
    let mut last = Client::dev(gateway, "listener-of-all").await;
    for i in 0..users {
        let user = format!("user-{i:03}-in-metrics");
        let mut client = Client::dev(gateway, &user).await;
        let group = format!("group-{i:03}-in-metrics");
        client.join(&group).await;
        last.join(&group).await;
        client.say(json!({"group": group}), json!("x")).await;
        client.say(json!({"user": "listener-of-all"}), json!("x")).await;
        let call = json!({"call": {"service": format!("service-{i:03}-in-metrics"), "method": "m", "body": 1}});
        client.refused(call).await;
        let path = format!("/path-{i:03}-in-metrics");
        assert_eq!(http::get(gateway, &path).await.status, 404);
        client.close().await;
    }
    last.messages(2 * users).await;
}

#[tokio::test]
async fn all_is_described_and_bounded_whatever_comes() {
    let cluster = Cluster::start(1, 1).await;
    let (gateway, router) = (&cluster.gateways[0], &cluster.routers[0]);
    work(gateway.public(), 10).await;
    let before = Page::of(gateway.admin()).await;
    work(gateway.public(), 60).await;
    for admin in [gateway.admin(), router.admin()] {
        let page = Page::of(admin).await;
        assert_eq!(page.faults, Vec::<String>::new());
        for line in page.all() {
            assert!(
                !line.contains("in-metrics") && !line.contains("listener"),
                "an id in a label: {line}"
            );
        }
        assert!(page.count() < SERIES, "{} series", page.count());
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
        ] {
            assert!(page.series.contains_key(name), "{name}");
        }
        for name in [
            "herald_runtime_workers",
            "herald_build_info",
            "herald_bus_ready",
            "herald_bus_connected",
        ] {
            assert!(page.series.contains_key(name), "{name}");
        }
    }
    let after = Page::of(gateway.admin()).await;
    let new: Vec<_> = after
        .series
        .keys()
        .filter(|name| !before.series.contains_key(*name))
        .collect();
    assert!(
        after.count() <= before.count() + 20,
        "{} series became {}: {new:?}",
        before.count(),
        after.count()
    );
}

#[tokio::test]
async fn a_message_is_counted_at_each_step_of_its_way() {
    let cluster = Cluster::start(1, 1).await;
    let (gateway, router) = (&cluster.gateways[0], &cluster.routers[0]);
    let mut receivers = Vec::new();
    for i in 0..3 {
        let mut receiver = Client::dev(gateway.public(), &format!("r{i}")).await;
        receiver.join("g").await;
        receivers.push(receiver);
    }
    for _ in 0..5 {
        receivers[0].say(json!({"group": "g"}), json!("x")).await;
    }
    receivers[0]
        .ask(
            json!({"send": {"to": {"user": "r1"}, "body": 1, "durable": false}}),
            "sent",
        )
        .await;
    receivers[1].messages(6).await;
    receivers[2].messages(5).await;
    let metrics = Metrics::of(gateway.admin()).await;
    let sum = |name: &str, labels: &[&str]| metrics.sum(name, labels);
    let group = ["to=\"group\"", "durable=\"true\""];
    let user = ["to=\"user\"", "durable=\"false\""];
    assert_eq!(sum("herald_gateway_messages_received_total", &group), 5.0);
    assert_eq!(sum("herald_gateway_messages_delivered_total", &group), 15.0);
    assert_eq!(sum("herald_gateway_messages_received_total", &user), 1.0);
    assert_eq!(sum("herald_gateway_messages_delivered_total", &user), 1.0);
    assert_eq!(sum("herald_gateway_connections", &["state=\"connected\""]), 3.0);
    // Histograms are gathered when they are shown.
    assert_eq!(metrics.get("herald_gateway_fanout_receivers_count{to=\"group\"}"), 5.0);
    assert_eq!(metrics.get("herald_gateway_fanout_receivers_sum{to=\"group\"}"), 15.0);
    assert_eq!(metrics.get("herald_gateway_queued_seconds_count{to=\"group\"}"), 5.0);
    let written = metrics.get("herald_gateway_delivery_seconds_count");
    // At most one for each receiver of each message: they share two flushers or more.
    assert!((1.0..=16.0).contains(&written), "{written} batches");
    let most = metrics.get("herald_gateway_delivery_seconds_sum") / written;
    assert!((0.0..5.0).contains(&most), "{most} s on average");
    let of_router = Metrics::of(router.admin()).await;
    assert_eq!(of_router.sum("herald_router_messages_total", &group), 5.0);
    assert_eq!(of_router.sum("herald_router_messages_total", &user), 1.0);
    assert!(of_router.sum("herald_router_log_appended_bytes_total", &[]) > 0.0);
    assert_eq!(of_router.get("herald_router_serving"), 1.0);
}

/// Who comes back after an hour is no sign that messages take an hour.
#[tokio::test]
async fn a_replay_counts_as_a_resume_and_not_as_a_late_delivery() {
    let gateway = dev_gateway().await;
    let admin = gateway.admin();
    let bob = Client::dev(gateway.public(), "bob").await;
    let cursor = bob.connected["cursor"].as_str().unwrap().to_owned();
    bob.close().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    for _ in 0..4 {
        alice.say(json!({"user": "bob"}), json!("x")).await;
    }
    let before = Metrics::of(admin).await;
    let back = Upgrade::to(gateway.public()).query("token", &token::dev("bob"));
    let mut bob = back.query("cursor", &cursor).connect().await;
    bob.messages(4).await;
    let after = Metrics::of(admin).await;
    let grew = |name: &str, labels: &[&str]| after.sum(name, labels) - before.sum(name, labels);
    assert_eq!(grew("herald_gateway_resumes_total", &["outcome=\"resumed\""]), 1.0);
    assert_eq!(grew("herald_gateway_messages_replayed_total", &[]), 4.0);
    assert_eq!(grew("herald_gateway_queued_seconds_count", &[]), 0.0);
    assert_eq!(grew("herald_gateway_gaps_total", &[]), 0.0);
}

#[tokio::test]
async fn what_nobody_reads_shows_as_bytes_in_outboxes() {
    let config = Config {
        router: r#"client_join = ["*"]"#.into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let good = |user: &str| token::hs256(SECRET, &token::claims(user));
    let _slow = Raw::narrow(gateway.public(), &format!("/ws?token={}", good("slow"))).await;
    let _nobody = Client::with_token(gateway.public(), Dialect::Json, &good("quick")).await;
    let body = "x".repeat(30_000);
    for _ in 0..400 {
        let call = json!({"to": {"user": "slow"}, "body": body, "durable": false});
        assert_eq!(
            http::post(gateway.admin(), "/api/v1/messages", API_KEY, &call)
                .await
                .status,
            200
        );
    }
    eventually("bytes wait", async || {
        let metrics = Metrics::of(gateway.admin()).await;
        let (all, most) = (
            metrics.get("herald_gateway_outbox_bytes"),
            metrics.get("herald_gateway_outbox_largest_bytes"),
        );
        all >= most && most > 500_000.0 && metrics.get("herald_gateway_users") == 2.0
    })
    .await;
    let dropped = Metrics::of(gateway.admin()).await;
    assert!(dropped.get("herald_gateway_dropped_pushes_total{reason=\"slow_consumer\"}") > 0.0);
}

#[tokio::test]
async fn nats_that_goes_and_comes_is_counted() {
    let mut cluster = Cluster::start(1, 1).await;
    let admins = [cluster.gateways[0].admin(), cluster.routers[0].admin()];
    for admin in admins {
        let metrics = Metrics::of(admin).await;
        assert_eq!(metrics.get("herald_bus_connects_total"), 1.0);
        assert_eq!(
            (metrics.get("herald_bus_connected"), metrics.get("herald_bus_ready")),
            (1.0, 1.0)
        );
    }
    cluster.nats.stop();
    for admin in admins {
        eventually("it is seen to be away", async || {
            let metrics = Metrics::of(admin).await;
            let refused = metrics.get("herald_bus_refusals_total{reason=\"other\"}");
            metrics.get("herald_bus_connected") == 0.0 && metrics.get("herald_bus_ready") == 0.0 && refused > 0.0
        })
        .await;
        assert_eq!(Metrics::of(admin).await.get("herald_bus_disconnects_total"), 1.0);
        let why = http::get(admin, "/health/ready").await;
        let words = format!("no connection to NATS: {}", cluster.nats.place());
        assert!(why.status == 503 && why.body.contains(&words), "{why:?}");
    }
    cluster.nats.start_again().await;
    cluster.ready().await;
    for admin in admins {
        let metrics = Metrics::of(admin).await;
        assert!(metrics.get("herald_bus_connects_total") >= 2.0);
        assert_eq!(
            (metrics.get("herald_bus_connected"), metrics.get("herald_bus_ready")),
            (1.0, 1.0)
        );
    }
}
