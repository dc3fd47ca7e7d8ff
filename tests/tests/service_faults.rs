//! Backends that fail: each in its own way, named, in time, and with nothing left behind.
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use herald_tests::{
    backend::{
        HUGE, HttpBackend, NatsBackend, PREFIX, World,
        calls::{call, client, refused, result},
    },
    client::Dialect,
    eventually,
    gateway::{Config, file},
    metrics::Metrics,
};
use serde_json::{Value, json};

/// The services of a [`World`].
const BOTH: [&str; 2] = ["nats", "http"];

#[tokio::test]
async fn each_failure_has_its_code() {
    let world = World::start().await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    for service in BOTH {
        for (method, code, retry) in [
            ("silent", "timeout", true),
            ("refuse", "bad_request", false),
            ("fail", "internal", false),
            ("huge", "too_large", false),
            ("liar", "internal", false),
        ] {
            let began = Instant::now();
            let error = alice.ask(call(service, method, json!(1)), "error").await;
            assert_eq!(
                (&error["code"], &error["retry"]),
                (&json!(code), &json!(retry)),
                "{service} {method}: {error}"
            );
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{service} {method} by its timeout"
            );
        }
        // The caller's own fault is told in the backend's words; the backend's are its own affair.
        let error = alice.ask(call(service, "refuse", json!(1)), "error").await;
        assert_eq!(error["message"], "no such dice", "{service}");
        let error = alice.ask(call(service, "fail", json!(1)), "error").await;
        assert!(!error["message"].as_str().unwrap().contains("trace"), "{error}");
    }
    let error = alice.ask(call("http", "page", json!(1)), "error").await;
    let text = "the service refused with 404";
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("not_found"), &json!(text)),
        "no page is told"
    );
    // One that dies without a word is told where that can be known.
    assert_eq!(refused(&mut alice, "nats", "dies").await, "timeout");
    assert_eq!(refused(&mut alice, "http", "dies").await, "internal");
    for bad in [
        json!({"call": {"service": "a.b"}}),
        json!({"call": {"service": "nats", "method": "*"}}),
        json!({"call": {"service": "nats", "method": ""}}),
    ] {
        assert_eq!(alice.refused(bad.clone()).await, "bad_request", "{bad}");
    }
    let large = json!("x".repeat(70_000));
    let mut other = client(world.public(), Dialect::Json, "bob").await;
    other.start(call("nats", "echo", large)).await;
    assert_eq!(other.closed().await, 1009, "the limit of frames comes first");
}

#[tokio::test]
async fn what_is_not_there_is_told_at_once() {
    let more = "[services.gone]\nclients = true\n[services.closed]\nclients = true\nurl = \"http://127.0.0.1:1/\"\n";
    let world = World::start_with("", more).await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    for service in ["gone", "closed"] {
        let began = Instant::now();
        let error = alice.ask(call(service, "x", json!(1)), "error").await;
        assert_eq!(
            (&error["code"], &error["retry"]),
            (&json!("unavailable"), &json!(true)),
            "{service}: {error}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{service}: no timeout was waited for"
        );
    }
}

/// A late or a doubled answer is nobody's: never the next one's.
#[tokio::test]
async fn answers_that_come_late_or_twice_disturb_nobody() {
    let world = World::start_with("timeout = \"100ms\"", "").await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    for round in 0..30 {
        for service in BOTH {
            assert_eq!(refused(&mut alice, service, "slow").await, "timeout", "{service}");
            for method in ["twice", "echo", "echo"] {
                let body = json!(format!("{service} {method} {round}"));
                let answer = alice.command(call(service, method, body.clone())).await;
                // A connection with an answer to nothing on it may be lost while the next request is on its way.
                let lost = service == "http" && answer["error"]["code"] == "internal";
                assert!(lost || answer["result"]["body"] == body, "{service} {method}: {answer}");
            }
        }
    }
    eventually("nothing waits", async || world.waiting().await == (0.0, 0.0)).await;
}

#[tokio::test]
async fn a_huge_answer_is_not_taken_in() {
    let world = World::start().await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    let before = herald_tests::usage::Usage::of(world.gateway.id()).memory;
    for method in ["huge", "chunked"] {
        for _ in 0..20 {
            assert_eq!(refused(&mut alice, "http", method).await, "too_large", "{method}");
        }
    }
    let sent = world.http.sent();
    assert!(sent < 40 * HUGE as u64 / 2, "{sent} bytes were taken");
    let grown = herald_tests::usage::Usage::of(world.gateway.id())
        .memory
        .saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // What is allowed comes whole, beyond an outbox' half and in base64 too.
    let large = World::start_with("max_reply = \"16MiB\"\ntimeout = \"20s\"", "").await;
    let mut bob = client(large.public(), Dialect::Proto, "bob").await;
    let answer = result(&mut bob, "http", "huge", json!(1)).await;
    let bytes = STANDARD.decode(answer["body_base64"].as_str().unwrap()).unwrap();
    assert!(bytes.len() >= HUGE - (16 << 10), "{}", bytes.len());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::start().await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    assert_eq!(refused(&mut alice, "http", "redirect").await, "internal");
    assert_eq!(world.http.requests(), 1);
}

#[tokio::test]
async fn link_local_addresses_are_not_called() {
    for url in [
        "http://169.254.169.254/",
        // The system's resolver takes the number for the same.
        "http://2852039166:1/",
        "http://[fe80::1]:80/x",
        "http://[::ffff:169.254.0.1]/",
    ] {
        let config = Config {
            rest: format!("[services.metadata]\nurl = \"{url}\"\n"),
            ..Config::default()
        };
        let file = file(&config.text());
        let path = file.path().to_str().unwrap();
        let outcome = herald_tests::command::run("herald-gateway", ["check", "--config", path]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.starts_with("services.metadata.url: "), "{outcome:?}");
    }
}

/// One service that hangs takes no more than its share; beyond it callers are told at once.
#[tokio::test]
async fn a_service_that_hangs_leaves_the_others_alone() {
    let world = World::start_with("timeout = \"30s\"\nin_flight = 20", "").await;
    let mut waiting = Vec::new();
    for n in 0..4 {
        let mut client = client(world.public(), Dialect::Json, &format!("u{n}")).await;
        for _ in 0..5 {
            client.start(call("nats", "silent", json!(1))).await;
        }
        waiting.push(client);
    }
    eventually("twenty wait", async || world.waiting().await == (20.0, 20.0)).await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    assert_eq!(refused(&mut alice, "nats", "echo").await, "unavailable");
    let began = Instant::now();
    for n in 0..200 {
        assert_eq!(result(&mut alice, "http", "echo", json!(n)).await["body"], n);
    }
    alice.say(json!({"user": "u0"}), json!("hello")).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(waiting);
    eventually("none waits", async || world.waiting().await == (0.0, 0.0)).await;
    assert_eq!(result(&mut alice, "nats", "echo", json!(1)).await["body"], 1);
}

#[tokio::test]
async fn limits_of_a_cluster_hold_for_all_services_together() {
    let world = World::start_with("timeout = \"30s\"", "[limits]\ncalls_in_flight = 10\n").await;
    let mut bob = client(world.public(), Dialect::Json, "bob").await;
    for n in 0..10 {
        bob.start(call(BOTH[n % 2], "silent", json!(1))).await;
    }
    eventually("ten wait", async || world.waiting().await.0 == 10.0).await;
    for service in BOTH {
        assert_eq!(refused(&mut bob, service, "echo").await, "unavailable");
    }
}

/// A client that goes takes its calls along, those beyond the 16 that may run at once as well.
#[tokio::test]
async fn the_end_of_a_connection_ends_its_calls() {
    let world = World::start_with("timeout = \"10m\"", "").await;
    for dialect in Dialect::BOTH {
        for service in BOTH {
            let mut gone = client(world.public(), dialect, "gone").await;
            let mut kicked = client(world.public(), dialect, "kicked").await;
            for client in [&mut gone, &mut kicked] {
                for _ in 0..20 {
                    client.start(call(service, "silent", json!(1))).await;
                }
            }
            eventually("two times sixteen wait", async || world.waiting().await.0 == 32.0).await;
            let began = Instant::now();
            drop(gone);
            let path = "/api/v1/users/kicked/connections?revoke=false";
            let bearer = format!("Bearer {}", herald_tests::http::DEV_API_KEY);
            let headers = [("Authorization", bearer.as_str())];
            let kick = herald_tests::http::request(world.gateway.admin(), "DELETE", path, &headers, b"").await;
            assert_eq!(kick.status, 200, "{kick:?}");
            eventually("none waits", async || world.waiting().await == (0.0, 0.0)).await;
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
    }
    eventually("nor does the upstream", async || world.http.open() == 0).await;
    let metrics = Metrics::of(world.gateway.admin()).await;
    for service in BOTH {
        let service_label = format!("service=\"{service}\"");
        let labels = [service_label.as_str(), "outcome=\"cancelled\""];
        let cancelled = metrics.sum("herald_gateway_calls_total", &labels);
        assert!(cancelled >= 64.0, "{cancelled} of {service}");
    }
}

/// Many clients at once, each with as many calls as it may have under way.
async fn crowd(address: SocketAddr, clients: usize, each: usize, command: Value, code: &'static str) {
    let one = async |n: usize, command: Value| {
        let mut client = client(address, Dialect::Json, &format!("crowd{n}")).await;
        let mut started = 0;
        let mut waiting = std::collections::VecDeque::new();
        while started < each || !waiting.is_empty() {
            if started < each && waiting.len() < 16 {
                waiting.push_back(client.start(command.clone()).await);
                started += 1;
                continue;
            }
            let answer = client.answer(waiting.pop_front().unwrap()).await;
            assert_eq!(answer["error"]["code"], code, "{answer} to {command}");
        }
    };
    let crowd = (0..clients).map(|n| one(n, command.clone()));
    futures_util::future::join_all(crowd).await;
}

/// Ten thousand of each kind; meanwhile one who calls what works is always answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_failures_of_each_kind_leave_nothing_behind() {
    let steady = HttpBackend::start().await;
    let patient = "clients = true\ntimeout = \"20s\"\nconnect_timeout = \"20s\"";
    let more = format!(
        "[services.gone]\nclients = true\n[services.steady]\n{patient}\n[services.patient]\n{patient}\nurl = \"{}\"\n",
        steady.url()
    );
    let world = World::start_with("timeout = \"100ms\"", &more).await;
    let _steady = NatsBackend::start(&world.nats.url(), PREFIX, "steady").await;
    let address = world.public();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let beside = tokio::spawn(async move {
        let mut alice = client(address, Dialect::Json, "alice").await;
        let mut n = 0;
        while !*stopped.borrow() {
            n += 1;
            assert_eq!(result(&mut alice, "steady", "echo", json!(n)).await["body"], n);
        }
        n
    });
    let memory = || herald_tests::usage::Usage::of(world.gateway.id()).memory;
    let mut after_warmup = 0;
    for (service, method, code) in [
        ("gone", "x", "unavailable"),
        ("unknown", "x", "not_found"),
        ("nats", "silent", "timeout"),
        ("nats", "slow", "timeout"),
        ("steady", "refuse", "bad_request"),
        ("steady", "huge", "too_large"),
        ("http", "silent", "timeout"),
        ("patient", "dies", "internal"),
        ("patient", "huge", "too_large"),
    ] {
        let began = Instant::now();
        crowd(address, 50, 200, call(service, method, json!(1)), code).await;
        eprintln!(
            "10,000 of {service} {method}: {:.1?}, memory {} MiB",
            began.elapsed(),
            memory() >> 20
        );
        eventually("nothing waits", async || {
            // The steady one's own call may be under way.
            let (calls, on_nats) = world.waiting().await;
            calls <= 1.0 && on_nats <= 1.0
        })
        .await;
        if after_warmup == 0 {
            after_warmup = memory();
        }
    }
    let began = Instant::now();
    for _ in 0..10 {
        // A thousand at a time: sixteen of each client.
        let mut clients = Vec::new();
        for n in 0..63 {
            let mut client = client(address, Dialect::Json, &format!("gone{n}")).await;
            for _ in 0..16 {
                client.start(call("nats", "silent", json!(1))).await;
            }
            clients.push(client);
        }
        drop(clients);
    }
    eprintln!(
        "10,080 of clients gone: {:.1?}, memory {} MiB",
        began.elapsed(),
        memory() >> 20
    );
    stop.send_replace(true);
    let answered = beside.await.unwrap();
    eprintln!("{answered} calls beside them were answered");
    eventually("nothing waits", async || world.waiting().await == (0.0, 0.0)).await;
    eventually("no connection is left", async || world.http.open() + steady.open() == 0).await;
    // 100,000 waiters of a few hundred bytes each would be seen.
    let grown = memory().saturating_sub(after_warmup);
    assert!(grown < 40 << 20, "{} MiB more", grown >> 20);
}

#[tokio::test]
async fn nats_away_is_unavailable_and_comes_back() {
    let mut world = World::start_with("timeout = \"20s\"", "").await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    let waiting = alice.start(call("nats", "silent", json!(1))).await;
    eventually("it waits", async || world.waiting().await.1 == 1.0).await;
    world.nats.stop();
    let answer = alice.answer(waiting).await;
    assert_eq!(answer["error"]["code"], "unavailable", "{answer}");
    assert_eq!(refused(&mut alice, "nats", "echo").await, "unavailable");
    assert_eq!(
        result(&mut alice, "http", "echo", json!(1)).await["body"],
        1,
        "HTTP needs no NATS"
    );
    world.nats.start_again().await;
    eventually("calls work again", async || {
        let answer = alice.command(call("nats", "echo", json!(1))).await;
        answer["result"]["body"] == 1
    })
    .await;
    assert_eq!(world.waiting().await, (0.0, 0.0));
}
