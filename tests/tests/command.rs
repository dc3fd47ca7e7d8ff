//! `POST /command`: one command without a connection, and what it does holds as if a connection had sent it.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use herald_tests::{
    client::{Client, Dialect},
    cluster::Cluster,
    gateway::{Config, SECRET, dev_gateway},
    http::{self, Response},
    poller::{Poller, post},
    token,
};
use serde_json::{Value, json};

async fn command(address: SocketAddr, user: &str, command: &Value) -> Response {
    post(address, "/command", &token::dev(user), command).await
}

/// The content of the answer `name` to a command that must succeed.
async fn done(address: SocketAddr, user: &str, what: Value, name: &str) -> Value {
    let answer = command(address, user, &what).await;
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()[name].clone()
}

/// The status and the code of the error that a command must meet.
async fn refused(address: SocketAddr, user: &str, what: Value) -> (u16, String) {
    let answer = command(address, user, &what).await;
    let code = answer.json()["error"]["code"].as_str().map(str::to_owned);
    (answer.status, code.unwrap_or_else(|| panic!("{what}: {answer:?}")))
}

#[tokio::test]
async fn a_command_is_answered_as_on_a_connection() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let answer = command(address, "alice", &json!({"id": 7, "ping": {}})).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"id": 7, "pong": {}})));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(done(address, "alice", json!({"ping": {}}), "pong").await, json!({}));
    let mut bob = Client::dev(address, "bob").await;
    let send = json!({"send": {"to": {"user": "bob"}, "body": [1, "x"], "kind": "chat"}});
    let sent = done(address, "alice", send, "sent").await;
    assert_eq!((&sent["online"], &sent["duplicate"]), (&json!(true), &json!(false)));
    let message = bob.next_message().await;
    assert_eq!(
        (&message["body"], &message["from"]),
        (&json!([1, "x"]), &json!("alice"))
    );
    assert_eq!((&message["id"], &message["offset"]), (&sent["id"], &sent["offset"]));
    let presence = done(address, "alice", json!({"presence": {"users": ["bob"]}}), "presence").await;
    assert_eq!(presence["users"]["bob"]["online"], true);
    let history = done(address, "bob", json!({"history": {"of": {"user": true}}}), "history").await;
    assert_eq!(history["messages"][0]["id"], sent["id"]);
}

/// Who repeats a command without a key sends twice, and who has one does not, over whatever node.
#[tokio::test]
async fn only_a_key_makes_two_sends_one() {
    let cluster = Cluster::start(1, 2).await;
    let addresses = cluster.addresses();
    let mut bob = Poller::begun(addresses[0], "bob", &token::dev("bob")).await;
    let without = json!({"send": {"to": {"user": "bob"}, "body": "twice"}});
    let with = json!({"send": {"to": {"user": "bob"}, "body": "once", "key": "k-1"}});
    let mut ids = Vec::new();
    for address in &addresses {
        ids.push(done(*address, "alice", without.clone(), "sent").await["id"].clone());
        let sent = done(*address, "alice", with.clone(), "sent").await;
        assert_eq!(sent["duplicate"], address != &addresses[0]);
    }
    assert_ne!(ids[0], ids[1]);
    bob.until(addresses[1], "three messages", |bob| bob.heard.count() == 3)
        .await;
    let bodies = bob.heard.bodies("user.bob");
    assert_eq!(bodies, ["twice", "once", "twice"].map(Value::from));
}

/// A join without a connection is recorded, and holds for connections there are and for those to come.
#[tokio::test]
async fn a_join_holds_once_it_is_answered_with_a_connection_or_without() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut here = Client::dev(one, "bob").await;
    let mut elsewhere = Client::dev(two, "bob").await;
    assert_eq!(
        done(one, "bob", json!({"join": {"group": "g1"}}), "joined").await["group"],
        "g1"
    );
    assert_eq!(
        done(two, "alice", json!({"join": {"group": "g1"}}), "joined").await["group"],
        "g1"
    );
    for client in [&mut here, &mut elsewhere] {
        assert_eq!(client.next("group").await, json!({"group": "g1", "joined": true}));
    }
    let send = json!({"send": {"to": {"group": "g1"}, "body": "all"}});
    assert_eq!(done(one, "alice", send, "sent").await["online"], true);
    assert_eq!(here.next_message().await["body"], "all");
    assert_eq!(elsewhere.next_message().await["body"], "all");
    let later = Client::dev(two, "alice").await;
    assert_eq!(later.connected["groups"], json!(["g1"]));
    done(one, "alice", json!({"leave": {"group": "g1"}}), "left").await;
    let send = json!({"send": {"to": {"group": "g1"}, "body": "no longer"}});
    assert_eq!(refused(two, "alice", send).await, (403, "forbidden".into()));
}

#[tokio::test]
async fn a_failure_has_the_status_that_fits() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    for (what, status, code) in [
        (
            json!({"send": {"to": {"group": "not-mine"}, "body": 1}}),
            403,
            "forbidden",
        ),
        (json!({"send": {"to": {"all": true}, "body": 1}}), 403, "forbidden"),
        (json!({"join": {"group": ""}}), 400, "bad_request"),
        (json!({"ping": {}, "join": {"group": "g"}}), 400, "bad_request"),
        (json!({"sing": {}}), 400, "bad_request"),
        (json!([]), 400, "bad_request"),
        (json!({"id": 0, "ping": {}}), 400, "bad_request"),
        (json!({"watch": {"users": ["bob"]}}), 501, "unsupported"),
        (json!({"unwatch": {"users": ["bob"]}}), 501, "unsupported"),
        (json!({"connect": {"token": "x"}}), 501, "unsupported"),
        (json!({"refresh": {"token": "x"}}), 501, "unsupported"),
    ] {
        assert_eq!(
            refused(address, "alice", what.clone()).await,
            (status, code.into()),
            "{what}"
        );
    }
    let answer = command(address, "alice", &json!({"id": 9, "join": {"group": ""}})).await;
    assert_eq!(answer.json()["id"], 9, "the id stands in errors too");
}

#[tokio::test]
async fn only_the_authorization_header_counts() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let token = token::dev("alice");
    let ping = br#"{"ping":{}}"#;
    let cookie = format!("token={token}");
    let query = format!("?token={token}");
    for path in ["/command", "/poll"] {
        for (query, headers) in [
            ("", vec![]),
            (query.as_str(), vec![]),
            ("", vec![("Cookie", cookie.as_str())]),
            ("", vec![("Authorization", "Bearer nonsense")]),
        ] {
            let answer = http::request(address, "POST", &format!("{path}{query}"), &headers, ping).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]["code"]),
                (401, &json!("unauthorized"))
            );
        }
        let bearer = format!("Bearer {token}");
        let answer = http::request(address, "GET", path, &[("Authorization", &bearer)], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    }
}

#[tokio::test]
async fn bodies_and_rates_are_limited() {
    let config = Config {
        limits: "frame = \"2KiB\"\ncommands_per_second = 10\ncommands_burst = 5".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let good = |user: &str| token::hs256(SECRET, &token::claims(user));
    let large = json!({"send": {"to": {"user": "bob"}, "body": "x".repeat(2048)}});
    let answer = post(address, "/command", &good("large"), &large).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (413, &json!("too_large"))
    );
    let (mut done, mut limited) = (0, Vec::new());
    for _ in 0..30 {
        let answer = post(address, "/command", &good("alice"), &json!({"ping": {}})).await;
        match answer.status {
            200 => done += 1,
            429 => limited.push(answer),
            _ => panic!("{answer:?}"),
        }
    }
    assert!(
        done >= 5 && limited.len() >= 10,
        "{done} done, {} limited",
        limited.len()
    );
    for answer in &limited {
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["code"], &error["retry"]),
            (&json!("rate_limited"), &json!(true))
        );
        assert!(
            error["after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)),
            "{error}"
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // The limit is one user's own, and polls have their part in it.
    assert_eq!(
        post(address, "/command", &good("bob"), &json!({"ping": {}}))
            .await
            .status,
        200
    );
    let mut answer = post(address, "/poll", &good("bob"), &json!({"wait": 0})).await;
    for _ in 0..20 {
        if answer.status == 429 {
            return;
        }
        answer = post(address, "/poll", &good("bob"), &json!({"wait": 0})).await;
    }
    panic!("polls are not limited: {answer:?}");
}

/// Connections have the limit of their own whatever their user posts.
#[tokio::test]
async fn a_connection_is_not_held_back_by_what_its_user_posts() {
    let config = Config {
        limits: "commands_per_second = 1\ncommands_burst = 2".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let token = token::hs256(SECRET, &token::claims("alice"));
    let mut alice = Client::with_token(gateway.public(), Dialect::Json, &token).await;
    for _ in 0..4 {
        post(gateway.public(), "/command", &token, &json!({"ping": {}})).await;
    }
    alice.ask(json!({"ping": {}}), "pong").await;
}
