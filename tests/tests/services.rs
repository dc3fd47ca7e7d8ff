//! Calls to the application's backends: who may call what, what backends are told, and what comes back.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use herald_tests::{
    backend::{
        PREFIX, Program, World,
        calls::{call, client, refused, result},
        gateway,
    },
    client::{Client, Dialect, Upgrade},
    eventually,
    gateway::{Config, dev_gateway, file},
    process::Node,
    short, token,
};
use serde_json::{Value, json};

/// The services of a [`World`].
const BOTH: [&str; 2] = ["nats", "http"];

#[tokio::test]
async fn a_call_comes_back_in_both_dialects() {
    let world = World::start().await;
    for dialect in Dialect::BOTH {
        let mut alice = client(world.public(), dialect, "alice").await;
        for service in BOTH {
            let body = json!({"dice": 2, "名": [1.5, null, "\u{0}"]});
            let answer = result(&mut alice, service, "echo", body.clone()).await;
            assert_eq!(answer, json!({"body": body}), "{service}");
            let answer = result(&mut alice, service, "bytes", json!(1)).await;
            let expected = json!({"body_base64": "AP8=", "content_type": "application/octet-stream"});
            assert_eq!(answer, expected, "{service}");
        }
    }
    // Bytes go by protobuf alone.
    let mut alice = client(world.public(), Dialect::Proto, "alice").await;
    for service in BOTH {
        let bytes = STANDARD.encode([0x12, 0x03, 0xff, 0x00]);
        let command = json!({"call": {"service": service, "method": "echo", "body_base64": bytes}});
        let answer = alice.ask(command, "result").await;
        assert_eq!(answer["body_base64"], bytes, "{service}");
        assert_eq!(answer["content_type"], "application/octet-stream");
    }
}

#[tokio::test]
async fn backends_are_told_who_asks() {
    let world = World::start().await;
    let user = "小明 2%";
    let token = short::logged_in(world.public(), user).await;
    let session = token::claims_of(&token)["sid"].clone();
    for dialect in Dialect::BOTH {
        let mut ming = Client::with_token(world.public(), dialect, &token).await;
        for service in BOTH {
            let told = result(&mut ming, service, "headers", json!(1)).await["body"].take();
            for (name, value) in [
                ("herald-user", json!("%E5%B0%8F%E6%98%8E%202%25")),
                ("herald-session", session.clone()),
                ("herald-connection", ming.connected["connection"].clone()),
                ("herald-client-ip", json!("127.0.0.1")),
                ("content-type", json!("application/json")),
                ("herald-msg-id", Value::Null),
            ] {
                assert_eq!(told[name], value, "{name} in {told}");
            }
        }
    }
}

#[tokio::test]
async fn clients_call_only_what_is_open_to_them() {
    let more = "[services.closed]\n[services.auth]\n[[routes]]\nid = 7\nservice = \"routed\"\n";
    let world = World::start_with("", more).await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    for service in ["closed", "auth", "routed", "nowhere", "NATS"] {
        assert_eq!(refused(&mut alice, service, "echo").await, "not_found", "{service}");
    }
    assert_eq!(
        result(&mut alice, "echo", "any", json!([1])).await,
        json!({"body": [1]}),
        "of --dev"
    );
    let gateway = Config::default().start().await;
    let token = token::hs256(herald_tests::gateway::SECRET, &token::claims("alice"));
    let mut alice = Client::with_token(gateway.public(), Dialect::Json, &token).await;
    assert_eq!(refused(&mut alice, "echo", "any").await, "not_found", "without --dev");
}

#[tokio::test]
async fn an_embedded_gateway_calls_too() {
    let dev = dev_gateway().await;
    let mut alice = Client::dev(dev.public(), "alice").await;
    assert_eq!(
        result(&mut alice, "echo", "x", json!({"a": 1})).await,
        json!({"body": {"a": 1}})
    );
    let config = Config {
        rest: "[services.lobby]\nclients = true\n".to_owned(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let token = token::hs256(herald_tests::gateway::SECRET, &token::claims("alice"));
    let mut alice = Client::with_token(gateway.public(), Dialect::Json, &token).await;
    assert_eq!(
        refused(&mut alice, "lobby", "x").await,
        "unavailable",
        "nobody can be on a bus in memory"
    );
}

#[tokio::test]
async fn a_call_may_take_longer_than_any_other_command() {
    let world = World::start_with("timeout = \"12s\"", "").await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    let began = Instant::now();
    let silent = alice.start(call("nats", "silent", json!(1))).await;
    // Others go on beside it.
    alice.say(json!({"user": "alice"}), json!("meanwhile")).await;
    assert_eq!(result(&mut alice, "nats", "echo", json!(1)).await["body"], 1);
    let answer = alice.answer(silent).await;
    assert_eq!(answer["error"]["code"], "timeout");
    assert!(began.elapsed() >= Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test]
async fn connections_to_an_upstream_are_kept_and_then_let_go() {
    let world = World::start().await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    for n in 0..50 {
        assert_eq!(result(&mut alice, "http", "echo", json!(n)).await["body"], n);
    }
    assert!(
        world.http.connections() < 5,
        "{} for 50 calls",
        world.http.connections()
    );
    eventually("idle connections are closed", async || world.http.open() == 0).await;
}

#[tokio::test]
async fn calls_cross_a_cluster_of_gateways() {
    let world = World::start().await;
    let table = "[services.nats]\nclients = true\n";
    let other: Node = gateway(&world.nats.url(), table).await;
    let upgrade = Upgrade::to(other.public()).query("token", &token::dev("bob"));
    let mut bob = upgrade.connect().await;
    assert_eq!(
        result(&mut bob, "nats", "echo", json!("over there")).await["body"],
        "over there"
    );
    assert_eq!(world.backend.requests(), 1);
}

/// A certificate for localhost and its key, in PEM.
fn certificate(folder: &Path, name: &str) -> [String; 2] {
    let path = |end: &str| folder.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
    let (certificate, key) = (path("crt"), path("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ])
        .output();
    let made = made.expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [certificate, key]
}

#[tokio::test]
async fn https_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let [good, key] = certificate(folder.path(), "good");
    let [other, _] = certificate(folder.path(), "other");
    let port = herald_tests::nats::free_port();
    let _server = Program::python("tests/backends/tls.py", [&good, &key, &port.to_string()]);
    let table = |name: &str, host: &str, ca: &str| {
        format!("[services.{name}]\nclients = true\nurl = \"https://{host}:{port}/\"\nca_file = \"{ca}\"\n")
    };
    let more =
        table("good", "localhost", &good) + &table("other", "localhost", &other) + &table("ip", "127.0.0.1", &good);
    let world = World::start_with("", &more).await;
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    for n in 0..3 {
        assert_eq!(result(&mut alice, "good", "echo", json!(n)).await["body"], n);
    }
    for wrong in ["other", "ip"] {
        assert_eq!(refused(&mut alice, wrong, "echo").await, "unavailable", "{wrong}");
    }
}

#[tokio::test]
async fn micro_services_in_python_are_understood() {
    let world = World::start_with("", "[services.micro]\nclients = true\n").await;
    let _micro = Program::python("tests/backends/micro.py", [world.nats.url()]);
    let mut alice = client(world.public(), Dialect::Json, "alice").await;
    // Without a content type an answer to JSON is JSON.
    assert_eq!(
        result(&mut alice, "micro", "plain", json!(1)).await,
        json!({"body": {"plain": true}})
    );
    for (method, code, message) in [
        ("refuse", "not_found", "no such item"),
        ("fail", "internal", "the service failed"),
        ("huge", "too_large", "the service's answer is too large"),
    ] {
        let error = alice.ask(call("micro", method, json!(1)), "error").await;
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!(code), &json!(message)),
            "{method}"
        );
    }
    assert_eq!(refused(&mut alice, "micro", "nothing").await, "unavailable");
}

/// What README.md beside the examples promises of both.
#[tokio::test]
async fn the_examples_serve() {
    for program in [
        |url: String| Program::python("deploy/examples/backend.py", [&url, PREFIX]),
        |url: String| Program::example("backend", [&url, PREFIX]),
    ] {
        let open = "[services.lobby]\nclients = true\n[services.echo]\nclients = true\n";
        let world = World::start_with("", open).await;
        let _backend = program(world.nats.url());
        let mut alice = client(world.public(), Dialect::Json, "alice").await;
        assert_eq!(
            result(&mut alice, "lobby", "roll", json!({"dice": 2})).await,
            json!({"body": {"sum": 3}})
        );
        let error = alice.ask(call("lobby", "roll", json!({"dice": 11})), "error").await;
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("bad_request"), &json!("dice must be 1 to 10"))
        );
        let command = json!({"call": {"service": "lobby", "body": 1}});
        let data = alice.ask(command, "result").await;
        let data = STANDARD.decode(data["body_base64"].as_str().unwrap()).unwrap();
        assert_eq!(data, b"\x0a\x11the data of alice");
        let command = json!({"call": {"service": "echo", "body": {"a": 1}}});
        assert_eq!(alice.ask(command, "result").await, json!({"body": {"a": 1}}));
        // Logins come to `auth` only by Herald itself.
        let nats = async_nats::connect(world.nats.url()).await.unwrap();
        for (login, err_code) in [
            (&b"\x08\x01"[..], 1),
            (b"\x12\x05alice\x1a\x0awonderland", 0),
            (b"\x12\x05alice\x1a\x07builder", 1),
            (b"\x12\x05nobod\x1a\x07builder", 1),
        ] {
            let asked = nats.request(format!("{PREFIX}.svc.auth"), login.into()).await.unwrap();
            let answer: Value = serde_json::from_slice(&asked.payload).unwrap();
            assert_eq!(answer["err_code"], err_code, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_configuration_with_one_msg_id_twice_is_refused() {
    let route = |name: &str| format!("[[routes]]\nmessage = \"{name}\"\nservice = \"lobby\"\n");
    let config = Config {
        rest: route("cmsg.CReqAddOldGuildLog") + &route("cmsg.CReqEquipDailySkill"),
        ..Config::default()
    };
    let file = file(&config.text());
    let path = file.path().to_str().unwrap();
    for arguments in [&["check", "--config", path][..], &["--config", path]] {
        let outcome = herald_tests::command::run("herald-gateway", arguments);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        for named in ["cmsg.CReqAddOldGuildLog", "cmsg.CReqEquipDailySkill", "3488809042"] {
            assert!(outcome.stderr.contains(named), "{named}: {outcome:?}");
        }
    }
}
