//! SIGHUP: what can change changes and is told, what cannot is told, and a bad file changes nothing.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use herald_tests::{
    cluster::Cluster,
    eventually,
    gateway::{API_KEY, Config, FREE, SECRET, file},
    http,
    metrics::Metrics,
    nats::NatsServer,
    process::Node,
};
use rustix::process::Signal;
use serde_json::{Value, json};

const OTHER_KEY: &str = "another-api-key-of-these-tests-alone";

/// A node's file, which is written anew.
struct Reloading {
    node: Node,
    path: PathBuf,
    reloads: f64,
}

impl Reloading {
    fn new(node: Node) -> Self {
        let path = node.files[0].path().to_owned();
        Self {
            node,
            path,
            reloads: 0.0,
        }
    }

    /// What the log has told of it.
    async fn with(&mut self, text: &str, outcome: &str) -> String {
        std::fs::write(&self.path, text).unwrap();
        let before = self.node.log().len();
        let name = format!("herald_config_reloads_total{{outcome=\"{outcome}\"}}");
        let count = async || Metrics::of(self.node.admin()).await.get(&name);
        self.reloads = count().await;
        self.node.signal(Signal::HUP);
        eventually("it was read", async || count().await > self.reloads).await;
        let told = ["was read anew", "nothing was changed"];
        eventually("it was told", async || {
            let log = self.node.log();
            told.iter().any(|words| log[before..].contains(words))
        })
        .await;
        self.node.log()[before..].to_owned()
    }
}

async fn presence(node: &Node, key: &str) -> u16 {
    http::post(node.admin(), "/api/v1/presence", key, &json!({"users": ["a"]}))
        .await
        .status
}

#[tokio::test]
async fn a_gateway_tells_each_change_and_what_needs_a_restart() {
    let mut config = Config {
        router: r#"client_join = ["a*"]"#.into(),
        rest: "[logging]\nlevel = \"info\"\n".into(),
        ..Config::default()
    };
    let mut gateway = Reloading::new(config.start().await);
    let first = config.text();
    config.router = "client_join = [\"b*\"]\ndirect = \"groups\"".into();
    config.limits = "commands_per_second = 50".into();
    config.rest = "[logging]\nlevel = \"info,herald_gateway=debug\"\n[presence]\ngrace = \"3s\"\n".into();
    let text = config
        .text()
        .replace(API_KEY, OTHER_KEY)
        .replace("drain = \"1s\"", "drain = \"2s\"");
    let told = gateway.with(&text, "done").await;
    for change in [
        "router.client_join: [\"a*\"] → [\"b*\"]",
        "router.direct: \"all\" → \"groups\"",
        "logging.level: \"info\" → \"info,herald_gateway=debug\"",
        "limits.commands_per_second: 100 → 50",
        "admin.api_keys: changed",
        "presence.grace: \"2s\" → \"3s\"",
        "drain: \"1s\" → \"2s\"",
        "changed=5 need_restart=2",
    ] {
        assert!(told.contains(change), "{change} in:\n{told}");
    }
    for line in told.lines().filter(|line| line.contains("needs a restart")) {
        assert!(line.contains("presence.grace") || line.contains("drain"), "{line}");
    }
    for secret in [API_KEY, OTHER_KEY, SECRET] {
        assert!(!gateway.node.log().contains(secret), "a secret in the log");
    }
    assert_eq!(presence(&gateway.node, API_KEY).await, 401, "the old key");
    assert_eq!(presence(&gateway.node, OTHER_KEY).await, 200, "the new one");
    // What waits for the restart is told again, and what is done is not.
    let told = gateway.with(&text, "done").await;
    assert!(told.contains("changed=0 need_restart=2"), "{told}");
    let told = gateway.with(&first, "done").await;
    assert!(told.contains("changed=5 need_restart=0"), "{told}");
}

#[tokio::test]
async fn a_file_that_holds_another_key_is_told_whatever_level_the_log_has() {
    let secret = file("the-first-secret-of-this-file-0123456789");
    let path = secret.path().to_str().unwrap();
    let config = Config {
        keys: format!("[[auth.keys]]\nkid = \"f\"\nalgorithm = \"HS256\"\nsecret_file = \"{path}\"\n"),
        rest: "[logging]\nlevel = \"error\"\n".into(),
        ..Config::default()
    };
    let mut gateway = Reloading::new(config.start().await);
    let told = gateway.with(&config.text(), "done").await;
    assert!(told.contains("changed=0 need_restart=0"), "{told}");
    std::fs::write(path, "the-second-secret-of-this-file-0123456789").unwrap();
    let told = gateway.with(&config.text(), "done").await;
    assert!(told.contains("auth.keys[1].secret_file"), "{told}");
    assert!(told.contains("changed=1 need_restart=0"), "{told}");
    assert!(!told.contains("secret-of-this-file"), "{told}");
}

#[tokio::test]
async fn a_bad_file_changes_nothing() {
    let config = Config::default();
    let mut gateway = Reloading::new(config.start().await);
    let other = config.text().replace(API_KEY, OTHER_KEY);
    for bad in [
        format!("{other}\n[presence]\ngrace = \"1h\"\n"),
        format!("{other}\nnonsense"),
        format!("{other}\n[logging]\nlevel = \"a=b=c\"\n"),
        other.replace(SECRET, "short"),
    ] {
        let told = gateway.with(&bad, "refused").await;
        assert!(told.contains("nothing was changed"), "{told}");
        assert!(!told.contains(OTHER_KEY), "{told}");
        assert_eq!(presence(&gateway.node, API_KEY).await, 200, "{told}");
    }
    gateway.with(&other, "done").await;
    assert_eq!(presence(&gateway.node, OTHER_KEY).await, 200);
}

#[tokio::test]
async fn a_router_takes_new_rules_without_a_restart() {
    let nats = NatsServer::start().await;
    let text = |rules: &str| {
        let url = nats.url();
        format!("[nats]\nurls = [\"{url}\"]\n[admin]\nlisten = \"{FREE}\"\n[policy]\n{rules}\n")
    };
    let file = file(&text(""));
    let path = file.path().to_str().unwrap().to_owned();
    let mut router = Node::spawn("herald-router", ["--config", &path]);
    router.files.push(file);
    router.ready().await;
    let mut router = Reloading::new(router);
    let gateway = Config {
        rest: format!("[nats]\nurls = [\"{}\"]\n", nats.url()),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let token = herald_tests::token::hs256(SECRET, &herald_tests::token::claims("bob"));
    let dialect = herald_tests::client::Dialect::Json;
    let mut bob = herald_tests::client::Client::with_token(gateway.public(), dialect, &token).await;
    assert_eq!(bob.refused(json!({"join": {"group": "lobby"}})).await, "forbidden");
    let told = router
        .with(&text("client_join = [\"lob*\"]\nlast_seen_kept = \"1h\""), "done")
        .await;
    assert!(told.contains("policy.client_join: [] → [\"lob*\"]"), "{told}");
    assert!(told.contains("policy.last_seen_kept: \"72h\" → \"1h\""), "{told}");
    assert!(told.contains("changed=1 need_restart=1"), "{told}");
    bob.join("lobby").await;
    let told = router.with("[policy]\ndirect = \"nobody\"\n", "refused").await;
    assert!(told.contains("policy.direct"), "{told}");
    bob.join("lobster").await;
}

async fn log_level(node: &Node, method: &str, key: &str, body: &Value) -> (u16, Value) {
    let authorization = format!("Bearer {key}");
    let headers = [("Authorization", authorization.as_str())];
    let answer = http::request(
        node.admin(),
        method,
        "/api/v1/log-level",
        &headers,
        body.to_string().as_bytes(),
    )
    .await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn the_level_of_the_log_is_lent_for_a_while() {
    let gateway = Config::default().start().await;
    assert_eq!(
        log_level(&gateway, "GET", "no-key-at-all-of-anybody", &json!({}))
            .await
            .0,
        401
    );
    let put = |level: &str, time: &str| json!({"level": level, "for": time});
    for bad in [
        put("a=b=c", "1m"),
        put("debug", "25h"),
        json!({"level": "debug", "fro": "1m"}),
    ] {
        assert_eq!(log_level(&gateway, "PUT", API_KEY, &bad).await.0, 400, "{bad}");
    }
    let (status, held) = log_level(&gateway, "PUT", API_KEY, &put("info,herald_gateway=debug", "2s")).await;
    assert_eq!(
        (status, held["level"].as_str()),
        (200, Some("info,herald_gateway=debug")),
        "{held}"
    );
    assert_eq!(held["configured"], "info");
    let message = json!({"to": {"user": "a"}, "body": "never to be logged"});
    let call = http::post(gateway.admin(), "/api/v1/messages", API_KEY, &message).await;
    assert_eq!(call.status, 200);
    eventually("it is written down", async || gateway.log().contains("accepted")).await;
    eventually("it is given back", async || {
        let (_, held) = log_level(&gateway, "GET", API_KEY, &json!({})).await;
        held["level"] == "info" && held.get("left").is_none()
    })
    .await;
    let before = gateway.log().matches("accepted").count();
    http::post(gateway.admin(), "/api/v1/messages", API_KEY, &message).await;
    let (_, held) = log_level(&gateway, "GET", API_KEY, &json!({})).await;
    assert_eq!(held["level"], "info");
    assert_eq!(gateway.log().matches("accepted").count(), before);
    assert!(!gateway.log().contains("never to be logged"));
}

#[tokio::test]
async fn reloading_a_cluster_without_a_file_is_no_harm() {
    let mut cluster = Cluster::start(1, 1).await;
    for node in cluster.routers.iter().chain(&cluster.gateways) {
        node.signal(Signal::HUP);
        eventually("it is told", async || node.log().contains("changed=0 need_restart=0")).await;
    }
    cluster.ready().await;
}
