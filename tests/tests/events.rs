//! `GET /events`: a stream of events is a connection that only listens, and keeps every promise of one.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::Cluster,
    events::{Events, Listener},
    eventually,
    foreign::Foreign,
    gateway::{API_KEY, Config, SECRET, dev_gateway},
    http::{self, DEV_API_KEY},
    metrics::Metrics,
    poller::{chatter, post},
    process::Node,
    token,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::Instant;

fn to_bob() -> Value {
    json!({"user": "bob"})
}

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

async fn streams(gateway: &Node) -> f64 {
    let metrics = Metrics::of(gateway.admin()).await;
    metrics.get("herald_gateway_connections{dialect=\"events\",state=\"connected\"}")
}

/// The answer to a request that must be refused.
async fn refused(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> http::Response {
    http::request(address, "GET", &format!("/events?{query}"), headers, b"").await
}

#[tokio::test]
async fn the_events_carry_what_a_websocket_is_told() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let token = token::dev("bob");
    let mut events = Events::open(address, &format!("token={token}&device=tab&watch=alice"), &[]).await;
    assert_eq!(events.status(), 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(events.header(name), Some(value), "{name}");
    }
    let first = events.next().await.unwrap().unwrap();
    let connected = &first.data["connected"];
    assert_eq!((first.name.as_str(), &connected["user"]), ("connected", &json!("bob")));
    assert_eq!(
        (first.id.as_deref(), &connected["gap"]),
        (connected["cursor"].as_str(), &json!(false))
    );
    assert_eq!(
        events.named("watching").await["watching"]["users"]["alice"]["online"],
        false
    );
    let mut socket = Client::with_token(address, Dialect::Json, &token).await;
    let mut alice = Client::dev(address, "alice").await;
    let presence = events.named("presence").await["presence"].take();
    assert_eq!(
        (&presence["user"], &presence["online"]),
        (&json!("alice"), &json!(true))
    );
    alice.say(to_bob(), json!("a\nb")).await;
    let message = events.named("message").await;
    assert_eq!(message, json!({"message": socket.next_message().await}));
    assert_eq!(message["message"]["body"], "a\nb");
    post(address, "/command", &token, &json!({"join": {"group": "g1"}})).await;
    assert_eq!(
        events.named("group").await,
        json!({"group": {"group": "g1", "joined": true}})
    );
    alice.join("g1").await;
    alice
        .ask(
            json!({"send": {"to": {"group": "g1"}, "body": 1, "durable": false}}),
            "sent",
        )
        .await;
    assert_eq!(events.named("message").await["message"]["body"], 1);
    let cursor = loop {
        let event = events.next().await.unwrap().unwrap();
        if event.name == "cursor" {
            break event;
        }
    };
    assert_eq!(
        (cursor.id.as_deref(), cursor.id.is_some()),
        (cursor.data["cursor"].as_str(), true)
    );
}

#[tokio::test]
async fn a_body_of_many_lines_stays_whole() {
    let gateway = dev_gateway().await;
    let mut bob = Events::dev(gateway.public(), &token::dev("bob")).await;
    let command = "{\"send\":{\"to\":{\"user\":\"bob\"},\"body\":{\r\n  \"a\": [1,\n 2],\n\n\"b\": \"x\\n\\ny\"}}}";
    let bearer = format!("Bearer {}", token::dev("alice"));
    let headers = [("Authorization", bearer.as_str())];
    let sent = http::request(gateway.public(), "POST", "/command", &headers, command.as_bytes()).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    let body = bob.named("message").await["message"]["body"].take();
    assert_eq!(body, json!({"a": [1, 2], "b": "x\n\ny"}));
}

#[tokio::test]
async fn the_token_may_stand_in_the_header_the_query_or_the_cookie() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let token = token::dev("bob");
    let (bearer, cookie, query) = (
        format!("Bearer {token}"),
        format!("a=b; token={token}"),
        format!("token={token}"),
    );
    for (query, headers) in [
        ("", vec![("Authorization", bearer.as_str())]),
        (query.as_str(), vec![]),
        ("", vec![("Cookie", cookie.as_str())]),
    ] {
        let mut events = Events::open(address, query, &headers).await;
        events.named("connected").await;
    }
    let subprotocol = format!("bearer.{token}");
    for (query, headers) in [
        ("", vec![]),
        ("token=nonsense", vec![]),
        ("", vec![("Sec-WebSocket-Protocol", subprotocol.as_str())]),
    ] {
        let answer = refused(address, query, &headers).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (401, &json!("unauthorized"))
        );
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_a_status() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let token = token::dev("bob");
    for query in [
        "cursor=nonsense",
        "cursor=5f3a.0:41",
        "since=yesterday",
        "device=",
        "watch=",
    ] {
        let answer = refused(address, &format!("token={token}&{query}"), &[]).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
    let answer = refused(address, &format!("token={token}"), &[("Last-Event-ID", "nonsense")]).await;
    assert_eq!(answer.status, 400);
    for method in ["POST", "HEAD", "PUT"] {
        let answer = http::request(address, method, &format!("/events?token={token}"), &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method}");
    }
    assert_eq!(streams(&gateway).await, 0.0);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let config = Config {
        public: "origins = [\"https://app.example\"]".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let query = format!("token={}", good("bob"));
    for origin in ["https://app.example", &format!("http://{}", gateway.public())] {
        let mut events = Events::open(gateway.public(), &query, &[("Origin", origin)]).await;
        events.named("connected").await;
    }
    for origin in ["https://evil.example", "null"] {
        let answer = refused(gateway.public(), &query, &[("Origin", origin)]).await;
        assert_eq!(answer.status, 403, "{origin}");
    }
}

#[tokio::test]
async fn a_heartbeat_comes_with_each_ping() {
    let config = Config {
        limits: "ping_interval = \"500ms\"\npong_timeout = \"200ms\"".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let mut events = Events::dev(gateway.public(), &good("bob")).await;
    let begun = Instant::now();
    // It says nothing in return, and stays.
    while begun.elapsed() < Duration::from_millis(2600) {
        let _quiet = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
    }
    assert!((3..=6).contains(&events.pings), "{} pings", events.pings);
    assert_eq!(streams(&gateway).await, 1.0);
}

/// A browser's own header is newer than what stands in the URL that it was given.
#[tokio::test]
async fn the_last_event_id_counts_before_the_url() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let token = token::dev("bob");
    let mut alice = Client::dev(address, "alice").await;
    for n in 0..3 {
        alice.say(to_bob(), json!(n)).await;
    }
    let query = format!("token={token}&since=start");
    let mut bob = Events::open(address, &query, &[]).await;
    for n in 0..3 {
        assert_eq!(bob.named("message").await["message"]["body"], n);
    }
    bob.named("cursor").await;
    let last = bob.last_id.clone().unwrap();
    drop(bob);
    alice.say(to_bob(), json!(3)).await;
    let mut bob = Events::open(address, &query, &[("Last-Event-ID", &last)]).await;
    assert_eq!(bob.named("connected").await["connected"]["resumed"], true);
    assert_eq!(bob.named("message").await["message"]["body"], 3);
    // The same cursor in the URL, of a client that writes it there; and on a WebSocket.
    let query = format!("token={token}&cursor={}", Listener::in_query(&last));
    let mut bob = Events::open(address, &query, &[]).await;
    assert_eq!(bob.named("message").await["message"]["body"], 3);
    let mut bob = Upgrade::to(address)
        .query("token", &token)
        .text("cursor", &last)
        .connect()
        .await;
    assert_eq!(bob.next_message().await["body"], 3);
}

#[tokio::test]
async fn what_may_be_gone_is_told_with_the_first_event() {
    let config = Config {
        rest: "[log]\nmax_messages_per_target = 20\n".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let mut alice = Client::with_token(address, Dialect::Json, &good("alice")).await;
    for (count, gap) in [(10, false), (30, true)] {
        let mut bob = Listener::new("bob", &good("bob"));
        bob.resume(address).await;
        bob.cut();
        for n in 0..count {
            alice.say(to_bob(), json!(n)).await;
        }
        bob.resume(address).await;
        assert_eq!(bob.connected["gap"], gap);
        bob.until("what is kept", |bob| bob.heard.count() == count.min(20))
            .await;
    }
}

const SMALL_OUTBOX: &str =
    "frame = \"16KiB\"\noutbox = \"64KiB\"\ncommands_per_second = 100000\ncommands_burst = 100000";

#[tokio::test]
async fn a_slow_reader_is_let_go_and_resumes_without_a_loss() {
    let config = Config {
        limits: SMALL_OUTBOX.into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let mut alice = Client::with_token(address, Dialect::Json, &good("alice")).await;
    let mut bob = Listener::new("bob", &good("bob"));
    bob.resume_narrow(address).await;
    let mut other = Events::dev(address, &good("bob")).await;
    let body = "x".repeat(8 << 10);
    let mut said = 0;
    while streams(&gateway).await == 2.0 {
        assert!(said < 900, "the slow reader was never given up");
        alice.say(to_bob(), json!([said, body])).await;
        assert_eq!(
            other.named("message").await["message"]["body"][0],
            said,
            "its neighbour goes on"
        );
        said += 1;
    }
    let closes = Metrics::of(gateway.admin())
        .await
        .get("herald_gateway_closes_total{code=\"4001\"}");
    assert_eq!(closes, 1.0);
    // What had gone on its way before may still come; then the stream breaks off.
    while bob
        .hear_until(Instant::now() + Duration::from_secs(20), |_| false)
        .await
        .is_some()
    {}
    bob.resume(address).await;
    bob.until("all", |bob| bob.heard.count() == said).await;
    assert_eq!((bob.heard.late, bob.gaps), (0, 0));
}

#[tokio::test]
async fn it_ends_with_the_close_code_of_a_kick_a_tokens_end_and_a_drain() {
    let config = Config {
        auth: "leeway = \"0s\"".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let mut bob = Events::dev(address, &good("bob")).await;
    let bearer = format!("Bearer {API_KEY}");
    let path = "/api/v1/users/bob/connections";
    http::request(gateway.admin(), "DELETE", path, &[("Authorization", &bearer)], b"").await;
    assert_eq!(bob.closed().await, 4102);
    let short = token::merged(token::claims("carol"), &json!({"exp": token::now() + 2}));
    let mut carol = Events::dev(address, &token::hs256(SECRET, &short)).await;
    assert_eq!(carol.closed().await, 4002);
    let mut dave = Events::dev(address, &good("dave")).await;
    gateway.terminate();
    assert_eq!(dave.closed().await, 4000);
}

#[tokio::test]
async fn a_stream_is_one_of_its_users_and_of_its_addresss_connections() {
    let config = Config {
        limits: "connections_per_user = 1\nconnections_per_address = 3".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let bob = Events::dev(address, &good("bob")).await;
    let bearer = format!("Bearer {API_KEY}");
    let headers = [("Authorization", bearer.as_str())];
    let shown = http::request(gateway.admin(), "GET", "/api/v1/users/bob", &headers, b"")
        .await
        .json();
    assert_eq!(
        (&shown["online"], &shown["connections"][0]["dialect"]),
        (&json!(true), &json!("events"))
    );
    let answer = refused(address, &format!("token={}", good("bob")), &[]).await;
    assert_eq!(answer.status, 403, "a second of the same user: {answer:?}");
    let carol = Events::dev(address, &good("carol")).await;
    // One request more is let in to be answered.
    let dave = Client::with_token(address, Dialect::Json, &good("dave")).await;
    let answer = refused(address, &format!("token={}", good("eve")), &[]).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    drop((bob, carol));
    eventually("they are gone", async || streams(&gateway).await == 0.0).await;
    drop(dave);
    Events::dev(address, &good("bob")).await;
}

/// Bob is cut 200 times, over two nodes, at a few hundred messages a second to his inbox, a group and all.
#[tokio::test]
async fn over_two_hundred_cuts_nothing_is_lost_and_nothing_comes_twice() {
    let cluster = Cluster::start(2, 2).await;
    let addresses = cluster.addresses();
    let groups = json!({"groups": ["g1"], "broadcast": true});
    let mut bob = Listener::new("bob", &token::dev_with("bob", &groups));
    bob.resume(addresses[0]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let alice = Client::with_token(addresses[0], Dialect::Json, &token::dev_with("alice", &groups)).await;
    let sender = tokio::spawn(chatter(alice, "bob", "g1", stopped));
    let mut dice = StdRng::seed_from_u64(8);
    for _ in 0..200 {
        let end = Instant::now() + Duration::from_millis(dice.random_range(0..150));
        bob.hear_until(end, |_| false).await;
        bob.resume(addresses[dice.random_range(0..2)]).await;
    }
    stop.send(true).unwrap();
    let said = sender.await.unwrap();
    let all: usize = said.iter().sum();
    assert!(all > 1_000, "{said:?}");
    bob.until("all", |bob| bob.heard.count() >= all).await;
    for (target, count) in ["user.bob", "group.g1", "all"].into_iter().zip(said) {
        let expected: Vec<Value> = (0..count).map(Value::from).collect();
        assert_eq!(bob.heard.bodies(target), expected, "{target}");
    }
    assert_eq!((bob.heard.late, bob.gaps), (0, 0));
}

/// A library that knows nothing of Herald reads the stream, and resumes by the standard's own means.
#[tokio::test]
async fn a_foreign_client_reads_and_resumes() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let mut alice = Client::dev(address, "alice").await;
    let url = format!("http://{address}/events?token={}", token::dev("bob"));
    let mut bob = Foreign::start("events.py", &[&url]);
    assert_eq!(bob.next().await.unwrap()["event"], "connected");
    let body = json!({"text": "grüße\nan alle", "n": [1, null]});
    alice.say(to_bob(), body.clone()).await;
    let event = bob.next().await.unwrap();
    let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
    assert_eq!((&event["event"], &data["message"]["body"]), (&json!("message"), &body));
    let cursor = bob.next().await.unwrap();
    assert_eq!(cursor["event"], "cursor");
    let last = cursor["id"].as_str().unwrap().to_owned();
    drop(bob);
    alice.say(to_bob(), json!("meanwhile")).await;
    let mut bob = Foreign::start("events.py", &[&url, &last]);
    assert_eq!(bob.next().await.unwrap()["event"], "connected");
    let event = bob.next().await.unwrap();
    assert!(event["data"].as_str().unwrap().contains("meanwhile"), "{event}");
    let bearer = format!("Bearer {DEV_API_KEY}");
    let path = "/api/v1/users/bob/connections";
    http::request(gateway.admin(), "DELETE", path, &[("Authorization", &bearer)], b"").await;
    loop {
        let event = bob.next().await.expect("a word at the end");
        if event["event"] == "closed" {
            assert!(event["data"].as_str().unwrap().contains("4102"), "{event}");
            break;
        }
    }
    assert_eq!(bob.next().await, None, "the library saw an orderly end");
}
