//! HTTP beneath TLS by clients that have nothing of this server's: HTTP/1.1 by Python's own library, HTTP/2 by curl; and
//! the admin listeners.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    curl::Curl,
    eventually,
    gateway::{API_KEY, Config, FREE, SECRET, dev_gateway_with, file},
    metrics::Metrics,
    nats::NatsServer,
    process::Node,
    short,
    tls::Authority,
    token,
};
use serde_json::{Value, json};

/// With `--dev` and certificate 1.
async fn dev(authority: &Authority) -> Node {
    authority.install(&authority.signs(1));
    let file = file(&format!("[public.tls]\n{}", authority.settings()));
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    gateway
}

async fn configured(authority: &Authority, limits: &str) -> Node {
    authority.install(&authority.signs(1));
    let config = Config {
        limits: limits.into(),
        rest: format!("[public.tls]\n{}", authority.settings()),
        ..Config::default()
    };
    config.start().await
}

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

fn envelope(msg_id: u32, bytes: &[u8]) -> String {
    String::from_utf8(short::envelope(msg_id, bytes)).unwrap()
}

#[tokio::test]
async fn a_client_in_python_logs_in_sends_refreshes_and_logs_out_over_one_connection() {
    let authority = Authority::new();
    let gateway = dev(&authority).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/https.py");
    let output = tokio::process::Command::new("python3")
        .arg(script)
        .arg(gateway.public().port().to_string())
        .arg(authority.root())
        .output()
        .await
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let expected = json!({"login": 200, "secure": false, "message": 200, "reply": "hello", "refresh": 200,
        "logout": 200, "alpn": "http/1.1", "tls": "TLSv1.3", "kept": true});
    assert_eq!(told, expected);
}

#[tokio::test]
async fn login_and_message_go_over_http2_where_the_client_offers_it() {
    let authority = Authority::new();
    let gateway = dev(&authority).await;
    let curl = Curl::new(gateway.public(), authority.root());
    let login = envelope(short::REQ_LOGIN, &short::login_request("zbj", "x"));
    let answer = curl.post("/login", "", &login).await;
    assert_eq!((answer.status, answer.version.as_str()), (200, "2"), "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    let (token, _) = cookie.strip_prefix("token=").unwrap().split_once(';').unwrap();
    let message = envelope(short::REQ_MY_DATA, b"hello");
    let answer = curl.post("/message", token, &message).await;
    assert_eq!((answer.status, answer.version.as_str()), (200, "2"), "{answer:?}");
    assert_eq!(answer.json()["bytes"], "aGVsbG8=");
    assert_eq!(curl.post("/refresh", token, "").await.status, 200);
    let command = curl.post("/command", token, r#"{"id":1,"ping":{}}"#).await;
    assert_eq!(command.json(), json!({"id": 1, "pong": {}}));
    // The same without offering it.
    let answer = curl.ask("/message", &["--http1.1", "--data-binary", &message]).await;
    assert_eq!((answer.status, answer.version.as_str()), (401, "1.1"), "{answer:?}");
}

/// HTTP/2 has no `Host`, and may split `Cookie`.
#[tokio::test]
async fn what_stands_in_headers_means_the_same_in_http2() {
    let authority = Authority::new();
    let gateway = configured(&authority, "").await;
    let curl = Curl::new(gateway.public(), authority.root());
    let port = gateway.public().port();
    for (origin, status) in [
        (format!("https://localhost:{port}"), 404),
        ("https://evil.example".to_owned(), 403),
    ] {
        let origin = format!("Origin: {origin}");
        let answer = curl.ask("/nothing", &["--http2", "--header", &origin]).await;
        assert_eq!((answer.status, answer.version.as_str()), (status, "2"), "{origin}");
    }
    let cookies = ["--http2", "--header", "Cookie: a=b", "--header"];
    let token = format!("Cookie: token={}", good("bob"));
    let mut events = curl.stream("/events", &[&cookies[..], &[&token]].concat());
    assert_eq!(events.event("connected").await["connected"]["user"], "bob");
}

#[tokio::test]
async fn a_websocket_is_refused_in_http2_and_the_client_told_why() {
    let authority = Authority::new();
    let gateway = configured(&authority, "").await;
    let curl = Curl::new(gateway.public(), authority.root());
    let answer = curl.ask("/ws", &["--http2"]).await;
    assert_eq!((answer.status, answer.version.as_str()), (426, "2"));
    assert_eq!(answer.body, "a WebSocket needs HTTP/1.1\n");
    // Without a word about protocols it is HTTP/1.1.
    let upgrade = Upgrade::to(gateway.public()).tls(&authority.trusted(&[]));
    upgrade.query("token", &good("alice")).connect().await;
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    let authority = Authority::new();
    let gateway = configured(&authority, "").await;
    let curl = Curl::new(gateway.public(), authority.root());
    let url = curl.url("/command");
    let bearer = format!("Authorization: Bearer {}", good("alice"));
    let root = authority.root();
    let mut arguments = vec!["--http2", "--parallel", "--parallel-max", "50"];
    for _ in 0..100 {
        if arguments.len() > 4 {
            arguments.push("--next");
        }
        let format = "%{http_code} %{http_version}\n";
        arguments.extend(["--silent", "--cacert", root.to_str().unwrap(), "--header", &bearer]);
        arguments.extend([
            "--data-binary",
            r#"{"ping":{}}"#,
            "--output",
            "/dev/null",
            "--write-out",
            format,
            &url,
        ]);
    }
    let output = curl.run(&arguments).await;
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told.lines().filter(|line| *line == "200 2").count(), 100, "{told}");
    let name = "herald_gateway_tls_handshakes_total{listener=\"public\",outcome=\"done\"}";
    let handshakes = Metrics::of(gateway.admin()).await.get(name);
    assert!(handshakes <= 2.0, "{handshakes} connections");
}

#[tokio::test]
async fn events_stream_over_http2_until_a_drain_says_so() {
    let authority = Authority::new();
    let mut gateway = configured(&authority, "").await;
    let curl = Curl::new(gateway.public(), authority.root());
    let path = format!("/events?token={}", good("bob"));
    let mut events = curl.stream(&path, &["--http2"]);
    events.event("connected").await;
    let alice = Upgrade::to(gateway.public()).tls(&authority.trusted(&["http/1.1"]));
    let mut alice: Client = alice
        .dialect(Dialect::Json)
        .query("token", &good("alice"))
        .connect()
        .await;
    for n in 0..20 {
        alice.say(json!({"user": "bob"}), json!(n)).await;
        // Each as it comes: nothing waits for more.
        assert_eq!(events.event("message").await["message"]["body"], n);
    }
    gateway.terminate();
    assert_eq!(events.event("closed").await["code"], 4000);
    while events.line().await.is_some() {}
    assert!(gateway.exit().await.success());
}

#[tokio::test]
async fn one_who_does_not_read_its_events_over_http2_is_let_go() {
    let authority = Authority::new();
    let limits = "frame = \"64KiB\"\noutbox = \"128KiB\"\ncommands_per_second = 100000\ncommands_burst = 100000\nbytes_per_second = \"1GiB\"\nbytes_burst = \"1GiB\"";
    let gateway = configured(&authority, limits).await;
    let curl = Curl::new(gateway.public(), authority.root());
    let path = format!("/events?token={}", good("bob"));
    let mut slow = curl.stream(&path, &["--http2", "--limit-rate", "1k"]);
    slow.event("connected").await;
    let alice = Upgrade::to(gateway.public()).tls(&authority.trusted(&["http/1.1"]));
    let mut alice: Client = alice
        .dialect(Dialect::Json)
        .query("token", &good("alice"))
        .connect()
        .await;
    let pad = "x".repeat(60 << 10);
    let mut said = 0;
    let closes = "herald_gateway_closes_total{code=\"4001\"}";
    while Metrics::of(gateway.admin()).await.get(closes) == 0.0 {
        assert!(said < 3_000, "the slow reader was never given up");
        alice.say(json!({"user": "bob"}), json!(pad)).await;
        said += 1;
    }
    let mut other = curl.stream(&path, &["--http2"]);
    other.event("connected").await;
    alice.say(json!({"user": "bob"}), json!("short")).await;
    assert_eq!(other.event("message").await["message"]["body"], "short");
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused_in_http2() {
    let authority = Authority::new();
    let gateway = configured(&authority, "").await;
    let curl = Curl::new(gateway.public(), authority.root());
    let large = format!("X-Large: {}", "x".repeat(40 << 10));
    let answer = curl.ask("/", &["--http2", "--header", &large]).await;
    assert_eq!(answer.status, 431, "{answer:?}");
    assert_eq!(curl.ask("/", &["--http2"]).await.status, 404);
}

#[tokio::test]
async fn admin_listeners_speak_tls_where_configured() {
    let authority = Authority::new();
    authority.install(&authority.signs(1));
    let nats = NatsServer::start().await;
    let tls = format!("[admin.tls]\n{}", authority.settings());
    let router = format!(
        "[admin]\nlisten = \"{FREE}\"\n{tls}[nats]\nurls = [\"{}\"]\n",
        nats.url()
    );
    let gateway = Config {
        rest: format!("{tls}[nats]\nurls = [\"{}\"]\n", nats.url()),
        ..Config::default()
    };
    let mut nodes = Vec::new();
    for (binary, text) in [("herald-router", router), ("herald-gateway", gateway.text())] {
        let file = file(&text);
        let mut node = Node::spawn(binary, ["--config".as_ref(), file.path().as_os_str()]);
        node.files.push(file);
        node.listens("admin").await;
        let curl = Curl::new(node.admin(), authority.root());
        let what = format!("{binary} is ready");
        eventually(&what, async || curl.ask("/health/ready", &[]).await.status == 200).await;
        let kind = binary.strip_prefix("herald-").unwrap();
        let metric = format!("herald_{kind}_tls_certificate_expires_timestamp_seconds{{listener=\"admin\"}}");
        assert!(curl.ask("/metrics", &[]).await.body.contains(&metric), "{binary}");
        nodes.push(node);
    }
    let gateway = &nodes[1];
    let curl = Curl::new(gateway.admin(), authority.root());
    let message = r#"{"to":{"user":"bob"},"body":"x"}"#;
    let answer = curl.post("/api/v1/messages", API_KEY, message).await;
    assert_eq!((answer.status, answer.version.as_str()), (200, "2"), "{answer:?}");
}
