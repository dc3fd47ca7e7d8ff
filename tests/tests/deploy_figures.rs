//! A real Prometheus looks at a live cluster that is used in every way: each query of the dashboard gives data, each rule can
//! be evaluated and asks for what is there, and an outage is told.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, path::Path, time::Duration};

use futures_util::StreamExt;
use herald_tests::{
    client::Upgrade,
    deployed::{Deployed, folder, told},
    eventually, http,
    prometheus::Prometheus,
    short, token,
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long figures may take to come: rates need some looks of Prometheus, a second apart.
const FIGURES: Duration = Duration::from_secs(90);

/// Metrics that a cluster without TLS does not have.
const TLS: &str = "herald_(gateway|router)_tls_certificate_expires_timestamp_seconds";

/// Somebody behind the service `auth` and `echo`.
async fn backend(cluster: &Deployed) -> JoinHandle<()> {
    let nats = cluster.nats("backend").await;
    let mut requests = nats.subscribe("herald.svc.>").await.unwrap();
    nats.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let answer = json!({"user": "1001", "account": "zbj"}).to_string();
            if let Some(reply) = request.reply {
                nats.publish(reply, answer.into()).await.unwrap();
            }
        }
    })
}

/// Everything that users, applications and bad clients do, once.
async fn everything(cluster: &Deployed) {
    let public = cluster.address("public");
    let broadcaster = token::merged(token::claims("root"), &json!({"broadcast": true}));
    let broadcaster = token::hs256(&cluster.secret("token"), &broadcaster);
    let mut root = Upgrade::to(public).query("token", &broadcaster).connect().await;
    let mut alice = cluster.client("alice").await;
    let mut bob = cluster.client("bob").await;
    for client in [&mut alice, &mut bob, &mut root] {
        client.join("lobby").await;
    }
    alice.ask(json!({"watch": {"users": ["bob"]}}), "watching").await;
    for durable in [true, false] {
        for to in [json!({"user": "bob"}), json!({"group": "lobby"})] {
            alice
                .ask(json!({"send": {"to": to, "body": 1, "durable": durable}}), "sent")
                .await;
        }
    }
    root.ask(json!({"send": {"to": {"all": true}, "body": 1}}), "sent")
        .await;
    alice.ask(json!({"presence": {"users": ["bob"]}}), "presence").await;
    alice
        .ask(json!({"history": {"of": {"group": "lobby"}}}), "history")
        .await;
    alice
        .ask(json!({"call": {"service": "echo", "body": 1}}), "result")
        .await;
    assert_eq!(
        alice
            .refused(json!({"send": {"to": {"group": "closed"}, "body": 1}}))
            .await,
        "forbidden"
    );

    // Away and back, for which the log is read; the watch sees it.
    let cursor = bob.next("cursor").await.as_str().unwrap().to_owned();
    bob.close().await;
    alice
        .ask(json!({"send": {"to": {"user": "bob"}, "body": 2}}), "sent")
        .await;
    let back = Upgrade::to(public)
        .query("token", &cluster.token("bob"))
        .query("cursor", &cursor);
    let mut bob = back.connect().await;
    while bob.next_message().await["body"] != 2 {}

    let (mut refused, _) = Upgrade::to(public).query("token", "none").open().await.unwrap();
    assert_eq!(refused.closed().await, 4100);
    let session = short::logged_in(public, "zbj").await;
    let session = short::refreshed(public, &session).await;
    assert_eq!(short::post(public, "/logout", &session, b"").await.status, 200);
    let key = cluster.secret("api-key");
    let body = json!({"to": {"users": ["alice"]}, "body": "noon"});
    let sent = http::post(cluster.address("gateway-1-admin"), "/api/v1/messages", &key, &body).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let polled = http::post(public, "/poll", &cluster.token("carol"), &json!({"wait": 0})).await;
    assert_eq!(polled.status, 200, "{polled:?}");
}

/// The dashboard's queries with the panels that they are in; variables stand for everything.
fn queries() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(folder().join("grafana/dashboards/herald.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| {
            let expression = target["expr"].as_str().unwrap().to_owned();
            let all = [("$__rate_interval", "30s"), ("$job", ".*"), ("$instance", ".*")];
            let expression = all
                .iter()
                .fold(expression, |text, (name, value)| text.replace(name, value));
            (title.clone(), expression)
        })
    });
    queries.collect()
}

#[test]
fn every_panel_has_a_unit_and_says_what_it_tells() {
    let text = std::fs::read_to_string(folder().join("grafana/dashboards/herald.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (rows, panels): (Vec<&Value>, Vec<&Value>) = panels.iter().partition(|panel| panel["type"] == "row");
    assert!(
        rows.len() >= 9 && panels.len() >= 50,
        "{} rows, {} panels",
        rows.len(),
        panels.len()
    );
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in panels.iter().chain(&rows) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{} twice", panel["id"]);
        let at = &panel["gridPos"];
        let (x, w) = (at["x"].as_u64().unwrap(), at["w"].as_u64().unwrap());
        assert!(x + w <= 24, "{at}");
        assert!(places.insert((at["y"].as_u64().unwrap(), x)), "two at {at}");
    }
    for panel in panels {
        let filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        assert!(filled(&panel["description"]), "{} says nothing", panel["title"]);
        assert!(
            filled(&panel["fieldConfig"]["defaults"]["unit"]),
            "{} has no unit",
            panel["title"]
        );
        assert!(
            !panel["targets"].as_array().unwrap().is_empty(),
            "{} asks nothing",
            panel["title"]
        );
    }
    for variable in ["source", "job", "instance"] {
        let list = dashboard["templating"]["list"].as_array().unwrap();
        assert!(list.iter().any(|found| found["name"] == variable), "{variable}");
    }
}

#[test]
fn the_dashboard_is_what_its_code_makes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let made = std::process::Command::new(folder().join("grafana/make-dashboard"))
        .arg(file.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", told(&made));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let same = read(file.path()) == read(&folder().join("grafana/dashboards/herald.json"));
    assert!(same, "run deploy/grafana/make-dashboard");
}

/// Metric names in an expression: what looks like one of ours, or of the process.
fn names(expression: &str) -> BTreeSet<String> {
    let expression = expression.replace(TLS, "");
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = |word: &&str| {
        ["herald_", "process_", "haproxy_", "instance:", "cluster:"]
            .iter()
            .any(|start| word.starts_with(start))
    };
    words.filter(ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_query_and_every_rule_finds_what_it_asks_for_and_an_outage_is_told() {
    let cluster = Deployed::start().await;
    let prometheus = Prometheus(cluster.address("prometheus"));
    let backend = backend(&cluster).await;
    let done = CancellationToken::new();
    let load = async {
        while !done.is_cancelled() {
            everything(&cluster).await;
        }
    };
    let looking = async {
        panels_have_data(&prometheus).await;
        rules_are_good(&prometheus).await;
        assert_eq!(prometheus.firing().await, BTreeSet::new(), "in a cluster that is well");
        done.cancel();
    };
    tokio::join!(load, looking);

    for (label, selector) in [
        ("job", "herald_build_info"),
        ("instance", r#"herald_build_info{job=~".*"}"#),
    ] {
        let values = prometheus.label_values(label, selector).await;
        assert_eq!(values.len(), if label == "job" { 2 } else { 4 }, "{values:?}");
    }

    // NATS ends under a running cluster: told within seconds, by name, and gone with it.
    backend.abort();
    for i in 1..=3 {
        let pid = cluster.pid(&format!("nats-{i}")).to_string();
        assert!(
            std::process::Command::new("kill")
                .args(["-9", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
    eventually("the alert fires", async || {
        let firing = prometheus.firing().await;
        firing.contains("HeraldNatsLost") && firing.contains("HeraldNoRouter")
    })
    .await;
    let up = cluster.run("up", &[]).await;
    assert!(up.status.success(), "{}", told(&up));
    eventually("the alert is over", async || {
        !prometheus.firing().await.iter().any(|name| name.starts_with("HeraldN"))
    })
    .await;
}

async fn panels_have_data(prometheus: &Prometheus) {
    let end = Instant::now() + FIGURES;
    let mut empty = queries();
    while !empty.is_empty() {
        let mut still = Vec::new();
        for (panel, query) in empty {
            let samples = prometheus.query(&query).await;
            let samples = samples.unwrap_or_else(|error| panic!("{panel}: {error} in {query}"));
            if !samples.iter().any(|sample| sample.is_finite()) {
                still.push((panel, query));
            }
        }
        empty = still;
        assert!(Instant::now() < end, "no data for {empty:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn rules_are_good(prometheus: &Prometheus) {
    let end = Instant::now() + FIGURES;
    loop {
        // What other rules record is there once they have had their turn.
        let known = prometheus.names().await;
        let rules = prometheus.rules().await;
        assert!(rules.len() > 30, "{}", rules.len());
        let mut lacking = Vec::new();
        for rule in rules {
            let missing = names(rule["query"].as_str().unwrap());
            let missing: Vec<_> = missing.into_iter().filter(|name| !known.contains(name)).collect();
            if !missing.is_empty() || rule["health"] != "ok" {
                lacking.push(format!(
                    "{} is {} and asks for {missing:?}",
                    rule["name"], rule["health"]
                ));
            }
        }
        if lacking.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{lacking:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
