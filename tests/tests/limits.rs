//! Each limit is reached by one, who is told so, and others are not touched by that.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use herald_tests::{
    PATIENCE,
    client::{Client, Upgrade},
    eventually,
    gateway::{Config, SECRET, file},
    http::{exchange, get, request},
    metrics::Metrics,
    poller,
    process::{Node, binary},
    raw::{self, FIN, PING, Raw},
    token,
    usage::Usage,
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::Instant};

async fn limited(limits: &str) -> Node {
    let config = Config {
        limits: limits.into(),
        router: "client_join = [\"*\"]\ngroups_per_user = 3\nvisibility = \"all\"".into(),
        ..Config::default()
    };
    config.start().await
}

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

async fn client(gateway: &Node, user: &str) -> Client {
    Upgrade::to(gateway.public())
        .query("token", &good(user))
        .connect()
        .await
}

async fn lives(client: &mut Client) {
    assert_eq!(client.ask(json!({"ping": {}}), "pong").await, json!({}));
}

/// An upgrade by hand, whatever comes of it.
async fn upgrade(gateway: &Node, user: &str) -> Raw {
    Raw::open(gateway.public(), &format!("/ws?token={}", good(user)), &[]).await
}

fn seconds(raw: &Raw) -> u64 {
    raw.header("Retry-After")
        .expect("Retry-After")
        .parse()
        .expect("seconds")
}

async fn refusals(gateway: &Node, reason: &str) -> f64 {
    let metrics = Metrics::of(gateway.admin()).await;
    metrics.get(&format!("herald_gateway_refused_upgrades_total{{reason=\"{reason}\"}}"))
}

#[tokio::test]
async fn a_full_node_says_503_and_when_to_come_back() {
    let gateway = limited("connections = 3").await;
    let mut clients = Vec::new();
    for i in 0..3 {
        clients.push(client(&gateway, &format!("u{i}")).await);
    }
    let mut times = Vec::new();
    for _ in 0..12 {
        let refused = upgrade(&gateway, "late").await;
        assert!(refused.head.starts_with("HTTP/1.1 503"), "{}", refused.head);
        times.push(seconds(&refused));
    }
    assert!(times.iter().all(|time| (5..=15).contains(time)), "{times:?}");
    assert!(
        times.iter().any(|time| *time != times[0]),
        "not all the same: {times:?}"
    );
    let bearer = format!("Bearer {}", good("late"));
    let headers = [("Authorization", bearer.as_str())];
    for (method, path) in [("GET", "/events"), ("POST", "/poll")] {
        let refused = request(gateway.public(), method, path, &headers, b"").await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (503, &json!("unavailable"))
        );
        assert!(refused.header("Retry-After").is_some());
    }
    assert_eq!(refusals(&gateway, "node_connections").await, 14.0);
    let most = Metrics::of(gateway.admin())
        .await
        .get("herald_gateway_connections_limit");
    assert_eq!(most, 3.0);
    // Those who are there feel nothing, requests are served, and there is room again when somebody goes.
    for client in &mut clients {
        lives(client).await;
    }
    let pong = request(gateway.public(), "POST", "/command", &headers, br#"{"ping":{}}"#).await;
    assert_eq!(pong.status, 200);
    clients.pop().unwrap().close().await;
    eventually("there is room", async || upgrade(&gateway, "late").await.upgraded()).await;
}

#[tokio::test]
async fn too_many_connects_in_a_second_are_put_off() {
    let gateway = limited("node_connects_per_second = 1\nnode_connects_burst = 4").await;
    let mut first = client(&gateway, "first").await;
    let mut refused = None;
    for i in 0..20 {
        let raw = upgrade(&gateway, &format!("u{i}")).await;
        if !raw.upgraded() {
            refused = Some(raw);
            break;
        }
    }
    let refused = refused.expect("somebody is refused");
    assert!(refused.head.starts_with("HTTP/1.1 503"), "{}", refused.head);
    assert!((1..=8).contains(&seconds(&refused)));
    assert!(refusals(&gateway, "node_rate").await >= 1.0);
    lives(&mut first).await;
    eventually("the next second has come", async || {
        upgrade(&gateway, "later").await.upgraded()
    })
    .await;
}

/// One address is at its end; the others are let in, and use up nothing of it.
#[tokio::test]
async fn an_address_at_its_limit_keeps_no_other_out() {
    let config = Config {
        public: "trusted_proxies = ['127.0.0.0/8']".into(),
        limits: "connections_per_address = 2\nnode_connects_per_second = 1\nnode_connects_burst = 6".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let from = |address: &'static str, user: &'static str| {
        let upgrade = Upgrade::to(gateway.public()).header("X-Forwarded-For", address);
        upgrade.query("token", &good(user)).open()
    };
    let _first = from("203.0.113.1", "a").await.unwrap();
    let _second = from("203.0.113.1", "b").await.unwrap();
    for _ in 0..20 {
        assert_eq!(from("203.0.113.1", "c").await.err(), Some(429));
    }
    let mut other = from("203.0.113.2", "d").await.unwrap().0;
    lives(&mut other).await;
    assert_eq!(refusals(&gateway, "address_connections").await, 20.0);
}

/// The answers to so many pings of one connection: good ones, and those that were told to wait.
async fn pings(client: &mut Client, count: usize) -> (usize, Vec<Value>) {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.start(json!({"ping": {}})).await);
    }
    let (mut good, mut refused) = (0, Vec::new());
    for id in ids {
        match client.answer(id).await {
            answer if answer.get("pong").is_some() => good += 1,
            mut answer => refused.push(answer["error"].take()),
        }
    }
    assert!(
        refused.iter().all(|error| error["code"] == "rate_limited"),
        "{refused:?}"
    );
    (good, refused)
}

#[tokio::test]
async fn commands_beyond_the_rate_are_told_and_a_flood_is_closed() {
    let gateway = limited("commands_per_second = 1\ncommands_burst = 10\nuser_commands_burst = 1000").await;
    let mut alice = client(&gateway, "alice").await;
    let mut desk = client(&gateway, "alice").await;
    let mut bob = client(&gateway, "bob").await;
    let (good, refused) = pings(&mut alice, 15).await;
    assert!((10..=13).contains(&good), "{good}");
    assert!(
        refused
            .iter()
            .all(|error| error["after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)))
    );
    // It goes on: ten seconds' worth, and no more.
    for _ in 0..200 {
        if alice.try_send(&json!({"id": 1000, "ping": {}})).await.is_err() {
            break;
        }
    }
    assert_eq!(alice.closed().await, 4004);
    lives(&mut bob).await;
    lives(&mut desk).await;
}

#[tokio::test]
async fn bytes_beyond_the_rate_are_told_and_a_flood_is_closed() {
    let gateway = limited("frame = \"16KiB\"\nbytes_per_second = \"8KiB\"\nbytes_burst = \"40KiB\"").await;
    let mut alice = client(&gateway, "alice").await;
    let mut bob = client(&gateway, "bob").await;
    let large = json!({"send": {"to": {"user": "nobody"}, "body": "x".repeat(15_000), "durable": false}});
    let mut sent = 0;
    let error = loop {
        let mut answer = alice.command(large.clone()).await;
        if answer.get("error").is_some() {
            break answer["error"].take();
        }
        sent += 1;
        assert!(sent < 20);
    };
    assert_eq!(
        (&error["code"], &error["retry"]),
        (&json!("rate_limited"), &json!(true))
    );
    assert!(error["after_ms"].as_u64().is_some_and(|ms| ms <= 2_000), "{error}");
    assert!(sent >= 2, "the burst");
    // There is room for what is small.
    lives(&mut alice).await;
    for _ in 0..40 {
        if alice.try_send(&large).await.is_err() {
            break;
        }
    }
    assert_eq!(alice.closed().await, 4004);
    lives(&mut bob).await;
}

#[tokio::test]
async fn pings_count_as_commands() {
    let gateway = limited("commands_per_second = 2\ncommands_burst = 5").await;
    let mut bob = client(&gateway, "bob").await;
    let mut alice = upgrade(&gateway, "alice").await;
    assert!(alice.upgraded());
    let flood: Vec<u8> = (0..200).flat_map(|_| raw::masked(FIN | PING, b"")).collect();
    alice.bytes(&flood).await;
    assert_eq!(alice.closed().await, 4004);
    lives(&mut bob).await;
}

#[tokio::test]
async fn a_users_connections_and_requests_share_a_rate_that_others_do_not_feel() {
    let gateway =
        limited("commands_per_second = 1\ncommands_burst = 20\nuser_commands_per_second = 1\nuser_commands_burst = 30")
            .await;
    let mut phone = client(&gateway, "alice").await;
    let mut desk = client(&gateway, "alice").await;
    let mut bob = client(&gateway, "bob").await;
    let (first, _) = pings(&mut phone, 20).await;
    let (second, refused) = pings(&mut desk, 20).await;
    assert!(first >= 19 && (10..=16).contains(&second), "{first} and {second}");
    assert!(!refused.is_empty());
    let refused = poller::post(gateway.public(), "/command", &good("alice"), &json!({"ping": {}})).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let (all, _) = pings(&mut bob, 20).await;
    assert_eq!(all, 20);
    assert_eq!(
        poller::post(gateway.public(), "/command", &good("bob"), &json!({"ping": {}}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_users_bytes_share_a_rate_too() {
    let gateway = limited(
        "frame = \"16KiB\"\nbytes_per_second = \"1KiB\"\nbytes_burst = \"40KiB\"\nuser_bytes_per_second = \"1KiB\"\nuser_bytes_burst = \"50KiB\"",
    )
    .await;
    let large = || json!({"send": {"to": {"user": "nobody"}, "body": "x".repeat(15_000), "durable": false}});
    let mut phone = client(&gateway, "alice").await;
    let mut desk = client(&gateway, "alice").await;
    let mut bob = client(&gateway, "bob").await;
    for _ in 0..2 {
        phone.ask(large(), "sent").await;
    }
    desk.ask(large(), "sent").await;
    assert_eq!(desk.refused(large()).await, "rate_limited");
    let request = poller::post(gateway.public(), "/command", &good("alice"), &large()).await;
    assert_eq!(request.status, 429, "{request:?}");
    bob.ask(large(), "sent").await;
}

#[tokio::test]
async fn sizes_are_limited() {
    let gateway = limited("frame = \"1KiB\"\nhttp_body = \"2KiB\"\nwatches_per_connection = 2").await;
    let mut bob = client(&gateway, "bob").await;
    let mut alice = client(&gateway, "alice").await;
    // Groups of a user, users that a connection watches.
    for group in ["g1", "g2", "g3"] {
        alice.join(group).await;
    }
    assert_eq!(alice.refused(json!({"join": {"group": "g4"}})).await, "forbidden");
    assert_eq!(
        alice.refused(json!({"watch": {"users": ["a", "b", "c"]}})).await,
        "forbidden"
    );
    bob.join("g4").await;
    // A body, a frame.
    let body = json!({"send": {"to": {"user": "x"}, "body": "x".repeat(1_100)}});
    let refused = poller::post(gateway.public(), "/command", &good("alice"), &body).await;
    assert_eq!(refused.status, 413);
    alice.send(&body).await;
    assert_eq!(alice.closed().await, 1009);
    lives(&mut bob).await;
}

#[tokio::test]
async fn beyond_its_memory_nobody_is_let_in_and_those_who_are_there_stay() {
    let mut gateway = limited("").await;
    assert_eq!(get(gateway.admin(), "/health/ready").await.status, 200);
    drop(gateway);
    // Any gateway takes more than this.
    gateway = limited("memory = \"16MiB\"").await;
    eventually("it is too heavy", async || {
        let refused = upgrade(&gateway, "late").await;
        refused.head.starts_with("HTTP/1.1 503") && (5..=15).contains(&seconds(&refused))
    })
    .await;
    assert!(refusals(&gateway, "memory").await >= 1.0);
    assert_eq!(get(gateway.admin(), "/metrics").await.status, 200);
}

/// A gateway that may open so many files and no more.
async fn with_descriptors(count: u32, limits: &str) -> Node {
    let config = Config {
        limits: limits.into(),
        ..Config::default()
    };
    let file = file(&config.text());
    let script = format!("ulimit -n {count}; exec \"$0\" --config \"$1\"");
    let gateway = binary("herald-gateway");
    let arguments = [
        "-c".as_ref(),
        script.as_ref(),
        gateway.as_os_str(),
        file.path().as_os_str(),
    ];
    let mut node = Node::spawn_program("sh", arguments);
    node.files.push(file);
    node.ready().await;
    node.listens("public").await;
    node
}

#[tokio::test]
async fn without_file_descriptors_it_refuses_and_goes_on() {
    let gateway = with_descriptors(100, "").await;
    let most = Metrics::of(gateway.admin())
        .await
        .get("herald_gateway_connections_limit");
    assert_eq!(most, 50.0, "the rest is its own");
    let mut first = client(&gateway, "first").await;
    let public = gateway.public();
    // Twice as many as there is room for, and none of them is left waiting.
    let sockets: Vec<TcpStream> = join_all((0..150).map(|_| async { TcpStream::connect(public).await.unwrap() })).await;
    eventually("some are refused", async || {
        refusals(&gateway, "descriptors").await >= 70.0
    })
    .await;
    let refused = exchange(public, b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    lives(&mut first).await;
    assert_eq!(get(gateway.admin(), "/health/ready").await.status, 200);
    drop(sockets);
    eventually("there is room again", async || {
        // Those that were let go are noticed by and by.
        let answer = exchange(public, b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        answer.status == 404
    })
    .await;
    let mut next = client(&gateway, "next").await;
    lives(&mut next).await;
}

/// What all keep for themselves can be used up as well: by the admin listener's clients, say.
#[tokio::test]
async fn accepting_goes_on_when_there_is_no_descriptor_at_all() {
    let gateway = with_descriptors(80, "").await;
    let (public, admin) = (gateway.public(), gateway.admin());
    let mut first = client(&gateway, "first").await;
    let held: Vec<TcpStream> = join_all((0..80).map(|_| async { TcpStream::connect(admin).await.unwrap() })).await;
    let told = async || {
        let answer = tokio::time::timeout(PATIENCE, exchange(public, b"")).await;
        answer.is_ok_and(|answer| answer.status == 503 || answer.status == 0)
    };
    eventually("nobody waits at the public listener", told).await;
    let before = Usage::of(gateway.id()).cpu;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = (Usage::of(gateway.id()).cpu - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(used < 0.5, "it turns in circles: {used}");
    lives(&mut first).await;
    drop(held);
    let ready: SocketAddr = admin;
    eventually("all is well again", async || {
        get(ready, "/health/ready").await.status == 200
    })
    .await;
    let mut next = client(&gateway, "next").await;
    lives(&mut next).await;
}

/// What it were told would look like an echo.
#[tokio::test]
async fn an_echo_that_comes_too_fast_is_left_out_and_a_flood_ends_with_its_code() {
    let config = Config {
        limits: "commands_per_second = 10\ncommands_burst = 20".into(),
        rest: "[dialects.echo]\npaths = [\"/echo\"]\n".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let mut peer = Raw::open(gateway.public(), &format!("/echo?token={}", good("bob")), &[]).await;
    let mut echoes = 0;
    for n in 0..1_000 {
        if peer
            .try_bytes(&raw::masked(FIN | raw::TEXT, format!("{n}").as_bytes()))
            .await
            .is_err()
        {
            break;
        }
    }
    let code = loop {
        match peer.read().await {
            Some(frame) if frame.first & 0x0f == raw::CLOSE => {
                break u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
            }
            Some(frame) => {
                let text = std::str::from_utf8(&frame.payload).unwrap();
                assert!(text.parse::<u32>().is_ok(), "an echo: {text}");
                echoes += 1;
            }
            None => panic!("it ended without a word"),
        }
    };
    assert_eq!(code, 4004);
    assert!((20..200).contains(&echoes), "{echoes}");
}

/// Nobody's rate is limited on a machine of one's own.
#[tokio::test]
async fn with_dev_one_user_may_ask_as_fast_as_it_can() {
    let gateway = herald_tests::gateway::dev_gateway().await;
    let bearer = format!("Bearer {}", token::dev("bob"));
    let headers = [("Authorization", bearer.as_str())];
    let ask = async || request(gateway.public(), "POST", "/command", &headers, br#"{"ping":{}}"#).await;
    for _ in 0..20 {
        for answer in join_all((0..50).map(|_| ask())).await {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    let mut client = Client::dev(gateway.public(), "bob").await;
    for _ in 0..2_000 {
        client.start(json!({"ping": {}})).await;
    }
    lives(&mut client).await;
}
