//! `POST /poll`: a client that keeps nothing but a cursor loses nothing and gets nothing twice.
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::Cluster,
    eventually,
    gateway::{API_KEY, Config, SECRET, dev_gateway},
    http,
    metrics::Metrics,
    poller::{Poller, post},
    process::Node,
    token,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

fn to_bob() -> Value {
    json!({"user": "bob"})
}

fn good(user: &str) -> String {
    token::hs256(SECRET, &token::claims(user))
}

/// Polls that wait at this node.
async fn waiting(gateway: &Node) -> f64 {
    let metrics = Metrics::of(gateway.admin()).await;
    metrics.get("herald_gateway_connections{dialect=\"poll\",state=\"connected\"}")
}

#[tokio::test]
async fn a_waiting_poll_is_answered_as_soon_as_there_is_something() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Client::dev(one, "alice").await;
    let mut bob = Poller::begun(two, "bob", &token::dev("bob")).await;
    for n in 0..5 {
        let poll = tokio::spawn(async move {
            let count = bob.poll(two, 30).await;
            (bob, count, Instant::now())
        });
        eventually("bob waits", async || waiting(&cluster.gateways[1]).await == 1.0).await;
        let said = Instant::now();
        alice.say(to_bob(), json!(n)).await;
        let (polled, count, answered) = poll.await.unwrap();
        bob = polled;
        assert_eq!(count, 1);
        assert!(answered - said < Duration::from_secs(1), "{:?}", answered - said);
    }
}

#[tokio::test]
async fn without_anything_it_is_answered_when_its_time_is_over_and_with_no_time_at_once() {
    let gateway = dev_gateway().await;
    let mut bob = Poller::new("bob", &token::dev("bob"));
    for (wait, least, most) in [(0, 0, 5), (1, 1, 6)] {
        let begun = Instant::now();
        assert_eq!(bob.poll(gateway.public(), wait).await, 0);
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_secs(least) && took < Duration::from_secs(most),
            "{took:?}"
        );
    }
    assert_eq!(bob.gaps, 0);
}

/// The first poll begins now, and all that comes after it is given, on whatever node.
#[tokio::test]
async fn from_the_first_cursor_on_nothing_is_lost_on_any_node() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Client::dev(one, "alice").await;
    alice.say(to_bob(), json!("before")).await;
    let mut bob = Poller::begun(one, "bob", &token::dev_with("bob", &json!({"groups": ["g1"]}))).await;
    alice.join("g1").await;
    for n in 0..30 {
        let to = if n % 2 == 0 { to_bob() } else { json!({"group": "g1"}) };
        alice.say(to, json!(n)).await;
    }
    bob.until(two, "all", |bob| bob.heard.count() == 30).await;
    assert!(!bob.heard.has(&json!("before")));
    let evens: Vec<Value> = (0..30).step_by(2).map(Value::from).collect();
    assert_eq!(bob.heard.bodies("user.bob"), evens);
    // What was given live counts as given elsewhere too.
    for n in 30..40 {
        alice.say(to_bob(), json!(n)).await;
        let at = [one, two][n % 2];
        bob.until(at, "the next", |bob| bob.heard.has(&json!(n))).await;
    }
    assert_eq!((bob.heard.count(), bob.heard.repeated, bob.gaps), (40, 0, 0));
}

#[tokio::test]
async fn all_that_is_kept_comes_in_several_answers_of_bounded_size() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let body = "x".repeat(4096);
    for n in 0..400 {
        alice.say(to_bob(), json!([n, body])).await;
    }
    let mut bob = Poller::new("bob", &token::dev("bob"));
    bob.poll_with(gateway.public(), &json!({"since": "start", "wait": 0}))
        .await;
    bob.until(gateway.public(), "all", |bob| bob.heard.count() == 400).await;
    assert!((3..=8).contains(&bob.answers), "in {} answers", bob.answers);
    let numbers: Vec<u64> = bob
        .heard
        .of("user.bob")
        .iter()
        .map(|item| item.body[0].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
    assert_eq!(bob.gaps, 0);
}

#[tokio::test]
async fn what_was_trimmed_is_told_once() {
    let config = Config {
        rest: "[log]\nmax_messages_per_target = 20\n".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let mut alice = Client::with_token(address, Dialect::Json, &good("alice")).await;
    let mut bob = Poller::begun(address, "bob", &good("bob")).await;
    for n in 0..30 {
        alice.say(to_bob(), json!(n)).await;
    }
    bob.until(address, "what is kept", |bob| bob.heard.count() == 20).await;
    assert_eq!(bob.gaps, 1);
    alice.say(to_bob(), json!(30)).await;
    bob.until(address, "what came since", |bob| bob.heard.count() == 21)
        .await;
    assert_eq!(bob.gaps, 1);
    let other = json!({"cursor": "5f3a@0:41", "wait": 0});
    assert_eq!(bob.poll_with(address, &other).await, 0);
    assert_eq!(bob.gaps, 2, "a cursor of another log");
}

/// A connection or a stream that is handed the cursor of a poll gives nothing twice either.
#[tokio::test]
async fn a_polls_cursor_is_good_for_a_connection() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let mut alice = Client::dev(address, "alice").await;
    let mut bob = Poller::begun(address, "bob", &token::dev("bob")).await;
    let poll = tokio::spawn(async move {
        bob.poll(address, 30).await;
        bob
    });
    eventually("bob waits", async || waiting(&gateway).await == 1.0).await;
    alice.say(to_bob(), json!(1)).await;
    let bob = poll.await.unwrap();
    let cursor = bob.cursor.unwrap();
    alice.say(to_bob(), json!(2)).await;
    let upgrade = Upgrade::to(address)
        .query("token", &token::dev("bob"))
        .text("cursor", &cursor);
    let mut client = upgrade.connect().await;
    assert_eq!(client.connected["resumed"], true, "{cursor}");
    assert_eq!(client.next_message().await["body"], 2, "{cursor}");
}

#[tokio::test]
async fn who_waits_is_online_and_one_of_the_users_connections() {
    let config = Config {
        limits: "connections_per_user = 2".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let shown = async || {
        let bearer = format!("Bearer {API_KEY}");
        let answer = http::request(
            gateway.admin(),
            "GET",
            "/api/v1/users/bob",
            &[("Authorization", &bearer)],
            b"",
        )
        .await;
        answer.json()
    };
    let mut bob = Poller::begun(address, "bob", &good("bob")).await;
    assert_eq!(shown().await["online"], false, "one who does not wait is not there");
    let ask = json!({"cursor": bob.cursor, "wait": 60, "device": "pad"});
    let first = tokio::spawn(async move { post(address, "/poll", &good("bob"), &ask).await });
    eventually("bob is online", async || shown().await["online"] == true).await;
    let connection = shown().await["connections"][0].clone();
    assert_eq!(
        (&connection["device"], &connection["dialect"]),
        (&json!("pad"), &json!("poll"))
    );
    assert_eq!(connection["address"], "127.0.0.1");
    let _second = Client::with_token(address, Dialect::Json, &good("bob")).await;
    let third = post(address, "/poll", &good("bob"), &json!({"wait": 60})).await;
    assert_eq!(
        (third.status, &third.json()["error"]["code"]),
        (403, &json!("forbidden"))
    );
    assert_eq!(bob.poll(address, 0).await, 0, "one who does not wait is none of them");
    let mut alice = Client::with_token(address, Dialect::Json, &good("alice")).await;
    alice.say(to_bob(), json!(1)).await;
    assert_eq!(first.await.unwrap().json()["messages"][0]["body"], 1);
}

#[tokio::test]
async fn a_kick_and_the_tokens_end_end_it_with_401() {
    let config = Config {
        auth: "leeway = \"0s\"".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let short = token::hs256(
        SECRET,
        &token::merged(token::claims("carol"), &json!({"exp": token::now() + 2})),
    );
    let answer = post(address, "/poll", &short, &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["message"]),
        (401, &json!("token expired"))
    );
    let poll = tokio::spawn(async move { post(address, "/poll", &good("bob"), &json!({})).await });
    eventually("bob waits", async || waiting(&gateway).await == 1.0).await;
    let bearer = format!("Bearer {API_KEY}");
    let path = "/api/v1/users/bob/connections";
    let kicked = http::request(gateway.admin(), "DELETE", path, &[("Authorization", &bearer)], b"").await;
    assert_eq!(kicked.status, 200);
    let answer = poll.await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["error"]["message"]),
        (401, &json!("kicked"))
    );
    assert_eq!(waiting(&gateway).await, 0.0);
}

#[tokio::test]
async fn a_drain_sends_those_who_wait_on_with_their_cursors() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Client::dev(two, "alice").await;
    let mut bob = Poller::begun(one, "bob", &token::dev("bob")).await;
    let poll = tokio::spawn(async move {
        let count = bob.poll(one, 60).await;
        (bob, count)
    });
    eventually("bob waits", async || waiting(&cluster.gateways[0]).await == 1.0).await;
    cluster.gateways[0].terminate();
    let (mut bob, count) = poll.await.unwrap();
    assert_eq!(count, 0);
    alice.say(to_bob(), json!(1)).await;
    bob.until(two, "what came meanwhile", |bob| bob.heard.count() == 1)
        .await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    for (ask, status) in [
        (json!({"cursor": "nonsense"}), 400),
        (json!({"cursor": "5f3a.0:41"}), 400),
        (json!({"cursor": "5f3a@0:41", "since": "start"}), 400),
        (json!({"since": "yesterday"}), 400),
        (json!({"wait": -1}), 400),
        (json!({"device": ""}), 400),
        (json!([]), 400),
        (json!({"cursor": "x".repeat(20_000)}), 413),
    ] {
        let answer = post(address, "/poll", &token::dev("bob"), &ask).await;
        assert_eq!(answer.status, status, "{ask}: {answer:?}");
        assert!(answer.json()["error"]["code"].is_string());
    }
    let bearer = format!("Bearer {}", token::dev("carol"));
    let headers = [("Authorization", bearer.as_str())];
    let short = http::request(address, "POST", "/poll", &headers, b"{\"wait\":0}").await;
    assert_eq!(short.status, 200);
}

/// A raw poll, so that it can be left hanging.
async fn hang(address: SocketAddr, user: &str) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = json!({"wait": 60}).to_string();
    let request = format!(
        "POST /poll HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        token::dev(user),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_thousand_clients_that_go_away_leave_nothing_behind() {
    let gateway = dev_gateway().await;
    let targets = async || Metrics::of(gateway.admin()).await.get("herald_gateway_targets");
    let mut streams = Vec::new();
    for n in 0..1_000 {
        streams.push(hang(gateway.public(), &format!("u{n}")).await);
        // Some are gone before they have become connected.
        if n % 3 == 0 {
            streams.pop();
        }
    }
    eventually("all others wait", async || waiting(&gateway).await == 666.0).await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let ask = json!({"presence": {"users": ["u1", "u2"]}});
    assert_eq!(alice.ask(ask.clone(), "presence").await["users"]["u1"]["online"], true);
    drop(streams);
    eventually("nobody waits", async || waiting(&gateway).await == 0.0).await;
    eventually("nobody is online", async || {
        alice.ask(ask.clone(), "presence").await["users"]["u1"]["online"] == false
    })
    .await;
    eventually("no target is left but alice's", async || targets().await <= 2.0).await;
}

/// Bob polls and is cut 200 times, over two nodes, at a few hundred messages a second to his inbox, a group and all.
#[tokio::test]
async fn over_two_hundred_cuts_nothing_is_lost_and_nothing_comes_twice() {
    let cluster = Cluster::start(2, 2).await;
    let addresses = cluster.addresses();
    let groups = json!({"groups": ["g1"], "broadcast": true});
    let mut bob = Poller::begun(addresses[0], "bob", &token::dev_with("bob", &groups)).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let alice = Client::with_token(addresses[0], Dialect::Json, &token::dev_with("alice", &groups)).await;
    let sender = tokio::spawn(herald_tests::poller::chatter(alice, "bob", "g1", stopped));
    let mut dice = StdRng::seed_from_u64(7);
    let mut cuts = 0;
    while cuts < 200 {
        // About as long as an answer takes, so that some are cut before they are given, and some on their way.
        let time = Duration::from_micros(dice.random_range(0..12_000));
        cuts += usize::from(bob.cut_after(addresses[dice.random_range(0..2)], time).await);
    }
    stop.send(true).unwrap();
    let said = sender.await.unwrap();
    let all: usize = said.iter().sum();
    assert!(all > 300, "{said:?}");
    bob.until(addresses[1], "all", |bob| bob.heard.count() >= all).await;
    for (target, count) in ["user.bob", "group.g1", "all"].into_iter().zip(said) {
        let expected: Vec<Value> = (0..count).map(Value::from).collect();
        assert_eq!(bob.heard.bodies(target), expected, "{target}");
    }
    assert_eq!((bob.heard.repeated, bob.heard.late, bob.gaps), (0, 0, 0));
}

/// Who polls stands in nobody's way on the next node, least of all its own.
#[tokio::test]
async fn one_who_polls_from_node_to_node_is_no_crowd() {
    let cluster = Cluster::start_with_gateways(1, 2, "[limits]\nconnections_per_user = 1\n").await;
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    let mut bob = Poller::begun(cluster.gateways[0].public(), "bob", &token::dev("bob")).await;
    for n in 0..20 {
        let (at, gateway) = (n % 2, &cluster.gateways[n % 2]);
        let address = gateway.public();
        let poll = tokio::spawn(async move {
            bob.poll(address, 30).await;
            bob
        });
        eventually("bob waits", async || waiting(gateway).await == 1.0).await;
        alice.say(to_bob(), json!([n, at])).await;
        bob = poll.await.unwrap();
        let ask = json!({"presence": {"users": ["bob"]}});
        let presence = alice.ask(ask, "presence").await;
        assert_eq!(
            presence["users"]["bob"]["online"], true,
            "between two polls it is there"
        );
    }
    assert_eq!(bob.heard.count(), 20);
}
