//! The commands `token`, `check` and `config`, and what the binaries refuse to start with.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use herald_tests::{
    client::{Client, Dialect},
    command::{Outcome, run, run_with},
    gateway::{API_KEY, Config, FREE, SECRET, dev_gateway, file},
    http::{self, request},
    process::Node,
    raw::Raw,
    token,
};
use serde_json::Value;

const BINARIES: [&str; 2] = ["herald-gateway", "herald-router"];

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON")
}

fn minted(arguments: &[&str]) -> String {
    let outcome = run("herald-gateway", arguments);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let token = outcome.stdout.trim_end_matches('\n').to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    assert!(token.chars().all(plain), "the token and nothing else: {token:?}");
    token
}

#[tokio::test]
async fn token_prints_what_the_gateway_takes() {
    let gateway = dev_gateway().await;
    let token = minted(&["token", "--dev", "--user", "alice"]);
    let alice = Client::with_token(gateway.public(), Dialect::Json, &token).await;
    assert_eq!(alice.connected["user"], "alice");
    assert_eq!(alice.connected["groups"], serde_json::json!([]));
    let token = minted(&[
        "token",
        "--dev",
        "--user",
        "小明 2",
        "--ttl",
        "2h",
        "--groups",
        "a,b",
        "--broadcast",
    ]);
    let more = claims(&token);
    assert_eq!(more["sub"], "小明 2");
    assert_eq!(more["groups"], serde_json::json!(["a", "b"]));
    assert_eq!(more["broadcast"], true);
    let lifetime = more["exp"].as_u64().unwrap() - token::now();
    assert!((7_100..=7_200).contains(&lifetime), "{more}");
    let mut ming = Client::with_token(gateway.public(), Dialect::Json, &token).await;
    assert_eq!(ming.connected["groups"], serde_json::json!(["a", "b"]));
    ming.say(serde_json::json!({"all": true}), serde_json::json!(1)).await;
}

#[tokio::test]
async fn token_mints_from_a_configuration_too() {
    let config = Config::default();
    let gateway = config.start().await;
    let file = file(&config.text());
    let token = minted(&["token", "--user", "alice", "--config", &path(file.path())]);
    let alice = Client::with_token(gateway.public(), Dialect::Json, &token).await;
    assert_eq!(alice.connected["user"], "alice");
}

fn path(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn token_needs_to_know_the_key_and_a_good_user() {
    for arguments in [
        &["token", "--user", "alice"][..],
        &["token", "--dev"],
        &["token", "--dev", "--user", ""],
        &["token", "--dev", "--user", "a\nb"],
        &["token", "--dev", "--user", "a", "--ttl", "soon"],
    ] {
        let outcome = run("herald-gateway", arguments);
        assert_ne!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
        assert_ne!(outcome.code, None, "{arguments:?} goes on");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
        assert!(
            !outcome.stderr.is_empty() && !outcome.stderr.contains("panicked"),
            "{outcome:?}"
        );
    }
}

#[test]
fn the_printed_configuration_is_commented_and_lacks_only_a_key() {
    for binary in BINARIES {
        let printed = run(binary, ["config"]);
        assert_eq!(printed.code, Some(0), "{printed:?}");
        assert!(printed.stdout.contains('#'), "{binary} prints comments");
        for table in ["[admin]", "[nats]", "[log]"] {
            assert!(printed.stdout.contains(table), "{binary} names {table}");
        }
        let file = file(&printed.stdout);
        let checked = run(binary, ["check", "--config", &path(file.path())]);
        if binary == "herald-router" {
            assert_eq!(checked.code, Some(0), "{checked:?}");
        } else {
            // A key that is printed would be everybody's.
            assert_eq!(checked.code, Some(2), "{checked:?}");
            assert_eq!(checked.stderr.lines().count(), 1, "{checked:?}");
            assert!(checked.stderr.starts_with("auth.keys: "), "{checked:?}");
        }
    }
}

#[test]
fn a_good_configuration_passes_the_check() {
    let file = file(&Config::default().text());
    let outcome = run("herald-gateway", ["check", "--config", &path(file.path())]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

/// Both the check and the start refuse `text` with 2, before anything listens.
fn refused(binary: &str, text: &str) -> String {
    let file = file(text);
    let config = path(file.path());
    let started = run(binary, ["--config", &config]);
    assert_eq!(started.code, Some(2), "{text}\n{started:?}");
    assert!(!started.stdout.contains("listening"), "nothing was bound: {started:?}");
    let checked = run(binary, ["check", "--config", &config]);
    assert_eq!(checked.code, Some(2), "{text}\n{checked:?}");
    let Outcome { stdout, stderr, .. } = checked;
    let told = stdout + &stderr;
    assert!(!told.contains("panicked"), "{told}");
    told
}

#[test]
fn each_fault_of_a_configuration_has_a_line_of_its_own() {
    let text = format!(
        "[public]\nlisten = [\"{FREE}\"]\n[admin]\nlisten = \"0.0.0.0:0\"\n\
         [nats]\nprefix = \"no spaces > allowed\"\n\
         [[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"short\"\n\
         [[auth.keys]]\nalgorithm = \"HS256\"\nkid = \"k2\"\nsecret_file = \"/does/not/exist\"\n\
         [limits]\nframe = \"0B\"\n"
    );
    let told = refused("herald-gateway", &text);
    let lines: Vec<&str> = told.lines().filter(|line| !line.trim().is_empty()).collect();
    for fault in ["admin", "prefix", "secret", "/does/not/exist", "frame"] {
        let naming: Vec<_> = lines.iter().filter(|line| line.contains(fault)).collect();
        assert!(!naming.is_empty(), "{fault} is not named:\n{told}");
    }
    assert!(lines.len() >= 5, "a line each:\n{told}");
}

#[test]
fn a_bad_configuration_is_refused_with_its_name() {
    let good = Config::default().text();
    for (from, to, named) in [
        ("[limits]", "[limits]\nfram = \"64KiB\"", "fram"),
        ("[limits]", "[limits]\nframe = \"many\"", "frame"),
        ("[limits]", "[limits]\nping_interval = \"soon\"", "ping_interval"),
        ("[limits]", "[limits]\noutbox = -5", "outbox"),
        ("[router]", "[router]\ndirect = \"friends\"", "direct"),
        ("[router]", "[router]\nvisibility = true", "visibility"),
        ("[router]", "[rooter]", "rooter"),
        ("\"HS256\"", "\"none\"", "algorithm"),
        (SECRET, "short", "secret"),
        (SECRET, token::DEV_SECRET, "secret"),
        (API_KEY, "short", "key"),
        (API_KEY, http::DEV_API_KEY, "key"),
        ("listen = \"127.0.0.1:0\"", "listen = \"localhost\"", "listen"),
        ("drain = \"1s\"", "drain = \"1s\"\ndev = true", "dev"),
        ("drain = \"1s\"", "drain = ", "TOML"),
    ] {
        assert!(good.contains(from), "the test's own {from}");
        let told = refused("herald-gateway", &good.replacen(from, to, 1));
        assert!(
            named == "TOML" || told.contains(named),
            "{named} is not named for {to}:\n{told}"
        );
        assert!(!told.contains(SECRET), "a secret is told:\n{told}");
    }
}

#[test]
fn an_admin_listener_beyond_loopback_needs_a_key() {
    let open = format!(
        "[public]\nlisten = [\"{FREE}\"]\n[admin]\nlisten = \"0.0.0.0:0\"\n\
         [[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n"
    );
    assert!(refused("herald-gateway", &open).contains("admin"));
    let keyed = open.replace(
        "[[auth",
        &format!("[[admin.api_keys]]\nname = \"ops\"\nkey = \"{API_KEY}\"\n[[auth"),
    );
    let file = file(&keyed);
    let outcome = run("herald-gateway", ["check", "--config", &path(file.path())]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn a_router_refuses_what_it_does_not_know() {
    for (text, named) in [
        (
            "[nats]\nurls = [\"nats://127.0.0.1:4222\"]\n[policy]\ndirect = \"friends\"\n",
            "direct",
        ),
        (
            "[nats]\nurls = [\"nats://127.0.0.1:4222\"]\n[public]\nlisten = []\n",
            "public",
        ),
        (
            "[nats]\nurls = [\"nats://127.0.0.1:4222\"]\n[log]\nmax_age = 5\n",
            "max_age",
        ),
        ("[nats]\nurls = []\n", "urls"),
    ] {
        let told = refused("herald-router", text);
        assert!(told.contains(named), "{named} is not named:\n{told}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    for binary in BINARIES {
        for arguments in [
            &["--config", "/does/not/exist"][..],
            &["check", "--config", "/does/not/exist"],
        ] {
            let outcome = run(binary, arguments);
            assert_eq!(outcome.code, Some(2), "{outcome:?}");
            assert!((outcome.stdout + &outcome.stderr).contains("/does/not/exist"));
        }
        let outcome = run(binary, ["--no-such-flag"]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
    }
}

#[test]
fn development_never_leaves_loopback() {
    for (binary, arguments) in [
        (
            "herald-gateway",
            &["--dev", "--listen", "0.0.0.0:0", "--admin", FREE][..],
        ),
        (
            "herald-gateway",
            &["--dev", "--listen", FREE, "--listen", "192.0.2.1:0", "--admin", FREE],
        ),
        ("herald-gateway", &["--dev", "--listen", FREE, "--admin", "0.0.0.0:0"]),
        (
            "herald-gateway",
            &[
                "--dev",
                "--listen",
                FREE,
                "--admin",
                FREE,
                "--nats",
                "nats://192.0.2.1:4222",
            ],
        ),
        (
            "herald-gateway",
            &[
                "--dev",
                "--listen",
                FREE,
                "--admin",
                FREE,
                "--nats",
                "nats://127.0.0.1:1,nats://nats.example:4222",
            ],
        ),
        (
            "herald-router",
            &["--dev", "--admin", "0.0.0.0:0", "--nats", "nats://127.0.0.1:1"],
        ),
        (
            "herald-router",
            &["--dev", "--admin", FREE, "--nats", "nats://192.0.2.1:4222"],
        ),
    ] {
        let outcome = run(binary, arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome:?}");
        assert!(!outcome.stdout.contains("listening"), "nothing was bound: {outcome:?}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
    }
}

#[tokio::test]
async fn development_takes_only_loopback_hosts() {
    let gateway = dev_gateway().await;
    let (public, admin) = (gateway.public(), gateway.admin());
    let port = public.port();
    for fine in [
        "localhost".to_owned(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        "[::1]:80".to_owned(),
    ] {
        let health = request(admin, "GET", "/health/live", &[("Host", &fine)], b"").await;
        assert_eq!(health.status, 200, "{fine}");
    }
    for foreign in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "192.0.2.1",
        "",
    ] {
        for (address, method, path) in [
            (admin, "GET", "/metrics"),
            (admin, "POST", "/api/v1/messages"),
            (public, "GET", "/ws"),
        ] {
            let status = request(address, method, path, &[("Host", foreign)], b"").await.status;
            assert!([400, 403, 421].contains(&status), "{foreign:?}: {status} for {path}");
        }
    }
    let target = format!("/ws?token={}", token::dev("alice"));
    let upgrade = async |host: &str| {
        let mut raw = tokio::net::TcpStream::connect(public).await.unwrap();
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        raw.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        raw.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    assert_eq!(upgrade("localhost:1").await, "101");
    assert_ne!(upgrade("evil.example").await, "101");
    assert!(Raw::open(public, &target, &[]).await.upgraded());
}

#[tokio::test]
async fn without_dev_any_host_is_served_and_the_development_key_is_nothing() {
    let gateway = Config::default().start().await;
    let health = request(
        gateway.admin(),
        "GET",
        "/health/live",
        &[("Host", "herald.example")],
        b"",
    )
    .await;
    assert_eq!(health.status, 200);
    let body = serde_json::json!({"to": {"user": "bob"}, "body": 1});
    assert_eq!(
        http::post(gateway.admin(), "/api/v1/messages", http::DEV_API_KEY, &body)
            .await
            .status,
        401
    );
    assert_eq!(
        http::post(gateway.admin(), "/api/v1/messages", API_KEY, &body)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn listen_repeats() {
    let arguments = ["--dev", "--listen", FREE, "--listen", FREE, "--admin", FREE];
    let node = Node::start("herald-gateway", arguments).await;
    herald_tests::eventually("three listeners", async || node.listeners() == 3).await;
    for address in node.all("public") {
        assert_eq!(Client::dev(address, "alice").await.connected["user"], "alice");
    }
}

#[tokio::test]
async fn the_environment_goes_over_the_file() {
    let file = file(&Config::default().text());
    let config = path(file.path());
    let check =
        |variable: &str, value: &str| run_with("herald-gateway", ["check", "--config", &config], &[(variable, value)]);
    assert_eq!(check("HERALD_LIMITS__FRAME", "32KiB").code, Some(0));
    let wrong = check("HERALD_LIMITS__FRAME", "many");
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!((wrong.stdout + &wrong.stderr).contains("limits.frame"));
    // Development is a flag only.
    let outcome = run_with(
        "herald-gateway",
        ["token", "--user", "alice"],
        &[("HERALD_DEV", "true")],
    );
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
}
