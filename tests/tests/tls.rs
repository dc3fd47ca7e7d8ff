//! TLS on the listeners: WebSockets and HTTP beneath it, certificates and their exchange, and clients that do it badly.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use herald_tests::{
    PATIENCE,
    client::{Client, Dialect, Upgrade},
    command, eventually,
    follower::Follower,
    gateway::{Config, FREE, SECRET, file},
    http::exchange,
    metrics::Metrics,
    process::Node,
    tls::{Authority, Trusting, number},
    token,
};
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A gateway whose public listener speaks TLS with certificate 1.
async fn gateway(authority: &Authority, config: Config) -> Node {
    authority.install(&authority.signs(1));
    let tls = format!("[public.tls]\n{}", authority.settings());
    let config = Config {
        rest: config.rest + &tls,
        ..config
    };
    config.start().await
}

fn wss(authority: &Authority) -> Trusting {
    authority.trusted(&["http/1.1"])
}

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

async fn connect(gateway: &Node, trusting: &Trusting, dialect: Dialect, user: &str) -> Client {
    let upgrade = Upgrade::to(gateway.public()).tls(trusting).dialect(dialect);
    upgrade.query("token", &good(user)).connect().await
}

async fn handshakes(gateway: &Node, outcome: &str) -> f64 {
    let name = format!("herald_gateway_tls_handshakes_total{{listener=\"public\",outcome=\"{outcome}\"}}");
    Metrics::of(gateway.admin()).await.get(&name)
}

#[tokio::test]
async fn clients_talk_over_wss_as_over_ws() {
    let authority = Authority::new();
    let gateway = gateway(&authority, Config::default()).await;
    let trusting = wss(&authority);
    for (ours, theirs) in [(Dialect::Json, Dialect::Proto), (Dialect::Proto, Dialect::Json)] {
        let mut alice = connect(&gateway, &trusting, ours, "alice").await;
        let mut bob = connect(&gateway, &trusting, theirs, "bob").await;
        // Less than a record of TLS, and several of them.
        for size in [1, 1_000, 16_000, 60_000] {
            let body = json!("x".repeat(size));
            let sent = alice.say(json!({"user": "bob"}), body.clone()).await;
            let message = bob.next_message().await;
            assert_eq!((&message["body"], &message["id"]), (&body, &sent["id"]));
        }
        for n in 0..150 {
            alice.start(json!({"send": {"to": {"user": "bob"}, "body": n}})).await;
        }
        for n in 0..150 {
            assert_eq!(bob.next_message().await["body"], n);
        }
        alice.ask(json!({"ping": {}}), "pong").await;
        alice.close().await;
        bob.close().await;
    }
    assert_eq!(handshakes(&gateway, "done").await, 4.0);
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_given_up_over_wss_too() {
    let authority = Authority::new();
    let config = Config {
        limits: "ping_interval = \"2s\"\npong_timeout = \"1s\"".into(),
        ..Config::default()
    };
    let gateway = gateway(&authority, config).await;
    let stream = wss(&authority).connect(gateway.public()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let request = format!(
        "GET /ws?token={} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        good("mute")
    );
    writer.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // The end is a close frame and TLS's own goodbye, or this would fail.
    timeout(PATIENCE, reader.read_to_end(&mut heard))
        .await
        .unwrap()
        .unwrap();
    let close = 4003u16.to_be_bytes();
    assert!(heard.windows(2).any(|two| two == [0x89, 0]), "a ping");
    assert!(heard.windows(2).any(|two| two == close), "{heard:?}");
}

#[tokio::test]
async fn a_slow_reader_over_wss_is_closed_with_4001_and_resumes_without_a_loss() {
    let authority = Authority::new();
    let config = Config {
        limits: "frame = \"16KiB\"\noutbox = \"64KiB\"\ncommands_per_second = 100000\ncommands_burst = 100000\nbytes_per_second = \"1GiB\"\nbytes_burst = \"1GiB\"".into(),
        rest: "[log]\nmax_messages_per_target = 5000\n".into(),
        ..Config::default()
    };
    let gateway = gateway(&authority, config).await;
    let address = gateway.public();
    let trusting = wss(&authority);
    let mut alice = connect(&gateway, &trusting, Dialect::Json, "alice").await;
    let mut neighbour = connect(&gateway, &trusting, Dialect::Json, "bob").await;
    let mut bob = Follower::new("bob", Dialect::Json, good("bob"));
    bob.tls = Some(trusting);
    bob.resume_narrow(address).await;
    let pad = "x".repeat(8 << 10);
    let mut said = 0;
    let closes = async || {
        Metrics::of(gateway.admin())
            .await
            .get("herald_gateway_closes_total{code=\"4001\"}")
    };
    while closes().await == 0.0 {
        assert!(said < 1_000, "the slow reader was never given up");
        let begun = Instant::now();
        alice.say(json!({"user": "bob"}), json!({"n": said, "pad": pad})).await;
        neighbour.next_message().await;
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "nobody waits for the slow one"
        );
        said += 1;
    }
    let end = bob.run(tokio::time::Instant::now() + PATIENCE).await;
    assert!(
        end.as_ref().is_err_and(|why| why.starts_with("closed with 4001")),
        "{end:?}"
    );
    assert!(bob.heard.count() < said, "it was closed before it had all");
    assert_eq!(bob.resume(address).await["resumed"], true);
    bob.until("all", |bob| bob.heard.count() == said).await;
    assert_eq!((bob.heard.late, bob.gaps), (0, 0));
}

#[tokio::test]
async fn a_drain_closes_wss_with_4000() {
    let authority = Authority::new();
    let mut gateway = gateway(&authority, Config::default()).await;
    let mut alice = connect(&gateway, &wss(&authority), Dialect::Json, "alice").await;
    gateway.terminate();
    assert_eq!(alice.closed().await, 4000);
    assert!(gateway.exit().await.success());
}

#[tokio::test]
async fn a_new_certificate_is_taken_on_sighup_or_by_itself_and_connections_stay() {
    let authority = Authority::new();
    let gateway = gateway(&authority, Config::default()).await;
    let trusting = wss(&authority);
    let shown = async || number(&trusting.connect(gateway.public()).await.unwrap());
    assert_eq!(shown().await, 1);
    let mut alice = connect(&gateway, &trusting, Dialect::Json, "alice").await;

    authority.install(&authority.signs_until(2, 3000));
    gateway.signal(Signal::HUP);
    eventually("certificate 2", async || shown().await == 2).await;
    let end = "herald_gateway_tls_certificate_expires_timestamp_seconds{listener=\"public\"}";
    assert_eq!(
        Metrics::of(gateway.admin()).await.get(end),
        32_503_680_000.0,
        "the year 3000"
    );

    authority.install(&authority.signs(3));
    eventually("certificate 3 without a signal", async || shown().await == 3).await;
    alice.ask(json!({"ping": {}}), "pong").await;
}

#[tokio::test]
async fn a_bad_new_certificate_changes_nothing_and_is_told() {
    let authority = Authority::new();
    let gateway = gateway(&authority, Config::default()).await;
    let trusting = wss(&authority);
    let mut other = authority.signs(2);
    other.key = authority.signs(3).key;
    authority.install(&other);
    gateway.signal(Signal::HUP);
    eventually("it is told", async || gateway.log().contains("nothing was changed")).await;
    eventually("it is told once more, by itself", async || {
        gateway.log().contains("a new certificate cannot be used")
    })
    .await;
    assert_eq!(number(&trusting.connect(gateway.public()).await.unwrap()), 1);
    authority.install(&authority.signs(4));
    eventually("the next good one", async || {
        number(&trusting.connect(gateway.public()).await.unwrap()) == 4
    })
    .await;
}

#[test]
fn check_names_what_is_wrong_with_a_certificate() {
    let authority = Authority::new();
    let faults = |binary: &str, listener: &str| {
        let tls = format!("[{listener}.tls]\n{}", authority.settings());
        let text = match binary {
            "herald-gateway" => Config {
                rest: tls,
                ..Config::default()
            }
            .text(),
            _ => format!("[admin]\nlisten = \"{FREE}\"\n{tls}"),
        };
        let file = file(&text);
        command::run(binary, ["check", "--config", file.path().to_str().unwrap()])
    };
    let good = authority.signs(1);
    let mismatched = herald_tests::tls::Pair {
        cert: good.cert.clone(),
        key: authority.signs(2).key,
    };
    let no_key = herald_tests::tls::Pair {
        cert: good.cert.clone(),
        key: good.cert.clone(),
    };
    let no_certificate = herald_tests::tls::Pair {
        cert: "nothing\n".into(),
        key: good.key.clone(),
    };
    for (binary, listener) in [
        ("herald-gateway", "public"),
        ("herald-gateway", "admin"),
        ("herald-router", "admin"),
    ] {
        let fault = |setting: &str, what: &str| {
            let outcome = faults(binary, listener);
            let begin = format!("{listener}.tls.{setting}: ");
            let told = &outcome.stderr;
            let line = told.lines().find(|line| line.starts_with(&begin));
            assert!(
                outcome.code == Some(2) && line.is_some_and(|line| line.contains(what)),
                "{told}"
            );
        };
        let _ = std::fs::remove_file(authority.path("tls.crt"));
        fault("cert_file", "No such file");
        authority.install(&mismatched);
        fault("key_file", "the key is not that of the certificate");
        authority.install(&no_key);
        fault("key_file", "holds no private key");
        authority.install(&no_certificate);
        fault("cert_file", "holds no certificate");
        authority.install(&authority.signs_until(1, 2021));
        fault("cert_file", "the certificate ended at 2021-01-01");
        authority.install(&good);
        let outcome = faults(binary, listener);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    }
}

#[tokio::test]
async fn what_is_no_tls_ends_cleanly_and_disturbs_nobody() {
    let authority = Authority::new();
    let gateway = gateway(&authority, Config::default()).await;
    let mut alice = connect(&gateway, &wss(&authority), Dialect::Json, "alice").await;
    let address = gateway.public();
    let begun = Instant::now();
    for bytes in [
        &b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff\xff\xff\xff",
        &[0; 5_000],
    ] {
        let answer = exchange(address, bytes).await;
        assert_eq!(answer.status, 0, "{answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for more of it");
    assert_eq!(handshakes(&gateway, "failed").await, 3.0);
    drop(TcpStream::connect(address).await.unwrap());
    eventually("one broke off", async || {
        handshakes(&gateway, "broken_off").await == 1.0
    })
    .await;
    // A client that trusts somebody else.
    let other = Authority::new().trusted(&["http/1.1"]);
    assert!(other.connect(address).await.is_err());
    eventually("the alert is counted", async || {
        handshakes(&gateway, "failed").await == 4.0
    })
    .await;
    alice.ask(json!({"ping": {}}), "pong").await;
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_let_go() {
    let authority = Authority::new();
    let gateway = gateway(&authority, Config::default()).await;
    let mut silent = TcpStream::connect(gateway.public()).await.unwrap();
    let mut dribbling = TcpStream::connect(gateway.public()).await.unwrap();
    // The head of a record that is a ClientHello, of which a byte comes now and then.
    dribbling
        .write_all(b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(500));
    let dribble = async {
        loop {
            every.tick().await;
            if dribbling.write_all(&[7]).await.is_err() {
                return;
            }
        }
    };
    let mut end = [0; 100];
    let silence = async { while silent.read(&mut end).await.is_ok_and(|read| read > 0) {} };
    timeout(PATIENCE, async { tokio::join!(dribble, silence) })
        .await
        .unwrap();
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
    assert_eq!(handshakes(&gateway, "late").await, 2.0);
}

#[tokio::test]
async fn no_more_handshakes_of_an_address_are_waited_for_than_it_may_have_connections() {
    let authority = Authority::new();
    let config = Config {
        limits: "connections_per_address = 3".into(),
        ..Config::default()
    };
    let gateway = gateway(&authority, config).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(gateway.public()).await.unwrap());
    }
    let trusting = wss(&authority);
    let refused = timeout(PATIENCE, trusting.connect(gateway.public())).await.unwrap();
    assert!(refused.is_err(), "the fourth");
    held.pop();
    eventually("there is room again", async || {
        trusting.connect(gateway.public()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn the_oldest_version_is_as_configured() {
    let authority = Authority::new();
    authority.install(&authority.signs(1));
    for (min, works) in [("1.2", true), ("1.3", false)] {
        let config = Config {
            rest: format!("[public.tls]\n{}min_version = \"{min}\"\n", authority.settings()),
            ..Config::default()
        };
        let gateway = config.start().await;
        let curl = herald_tests::curl::Curl::new(gateway.public(), authority.root());
        let url = curl.url("/");
        let outcome = curl.run(&["--tlsv1.2", "--tls-max", "1.2", &url]).await;
        assert_eq!(outcome.status.success(), works, "{min}: {outcome:?}");
        let outcome = curl.run(&["--tlsv1.3", &url]).await;
        assert!(outcome.status.success(), "{min}: {outcome:?}");
    }
}
