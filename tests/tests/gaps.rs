//! Where messages may be gone for good the client is told, and only there.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::{Cluster, LOG_STREAM},
    eventually,
    follower::Follower,
    gateway::{Config, SECRET, dev_gateway},
    nats::cluster::api,
    token,
};
use serde_json::{Value, json};

#[path = "gaps/losses.rs"]
mod losses;

/// What a target may keep in these tests, and how that is configured.
const KEPT: usize = 20;
const SMALL_LOG: &str = "[log]\nmax_messages_per_target = 20\n";

fn user(id: &str) -> Value {
    json!({"user": id})
}

/// Bob with a cursor, cut off again.
async fn bob_has_been_at(address: std::net::SocketAddr) -> Follower {
    let mut bob = Follower::dev(address, "bob", &["g1"]).await;
    bob.cut();
    bob
}

/// Bob misses `count` messages, and resumes.
async fn misses(alice: &mut Client, bob: &mut Follower, address: std::net::SocketAddr, to: &Value, count: usize) {
    for n in 0..count {
        alice.say(to.clone(), json!(n)).await;
    }
    bob.resume(address).await;
    alice.say(to.clone(), json!("mark")).await;
    bob.until_heard(&json!("mark")).await;
}

/// Whoever was told of a gap still gets what is kept: the newest ones, in order.
fn assert_newest(bob: &Follower, target: &str, count: usize) {
    let mut heard = bob.heard.bodies(target);
    assert_eq!(heard.pop(), Some(json!("mark")));
    let expected: Vec<Value> = (count - heard.len()..count).map(Value::from).collect();
    assert_eq!(heard, expected);
    assert_eq!(bob.heard.late, 0);
}

#[tokio::test]
async fn what_was_trimmed_by_count_is_a_gap_and_what_was_not_is_none() {
    let config = Config {
        router: r#"client_join = ["*"]"#.into(),
        rest: SMALL_LOG.into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let good = |user: &str| token::hs256(SECRET, &token::merged(token::claims(user), &json!({"groups": ["g1"]})));
    for (to, target) in [(user("bob"), "user.bob"), (json!({"group": "g1"}), "group.g1")] {
        for (count, gap) in [(KEPT / 2, false), (KEPT + 10, true)] {
            let mut alice = Client::with_token(address, Dialect::Json, &good("alice")).await;
            let mut bob = Follower::new("bob", Dialect::Json, good("bob"));
            bob.resume(address).await;
            bob.cut();
            misses(&mut alice, &mut bob, address, &to, count).await;
            assert_eq!(bob.connected["gap"], gap, "{target}, {count}: {}", bob.connected);
            assert_newest(&bob, target, count);
            if !gap {
                assert_eq!(bob.heard.count(), count + 1);
                assert_eq!(bob.connected["resumed"], true);
            }
        }
    }
}

/// How much is kept stands in the routers' configuration alone: gateways must not guess it.
#[tokio::test]
async fn what_was_trimmed_by_count_is_a_gap_on_every_gateway_of_a_cluster() {
    let cluster = Cluster::start_with(1, 2, SMALL_LOG).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    for (count, gap) in [(KEPT / 2, false), (KEPT + 10, true)] {
        let mut alice = Client::dev(one, "alice").await;
        let mut bob = bob_has_been_at(one).await;
        misses(&mut alice, &mut bob, two, &user("bob"), count).await;
        assert_eq!(bob.connected["gap"], gap, "{count}: {}", bob.connected);
        assert_newest(&bob, "user.bob", count);
    }
}

async fn log_metadata(cluster: &Cluster) -> Value {
    let nats = async_nats::connect(cluster.nats.url()).await.unwrap();
    let info = api(&nats, &format!("STREAM.INFO.{LOG_STREAM}"), &json!({})).await;
    info.unwrap()["config"]["metadata"].take()
}

/// Raising the limit brings nothing back of what the lower one has trimmed.
#[tokio::test]
async fn what_a_lower_limit_has_trimmed_stays_a_gap_when_the_limit_is_raised() {
    let mut cluster = Cluster::start_with(1, 1, SMALL_LOG).await;
    let address = cluster.gateways[0].public();
    let mut alice = Client::dev(address, "alice").await;
    let mut bob = bob_has_been_at(address).await;
    let first = alice.say(user("bob"), json!(0)).await["offset"].clone();
    for n in 1..KEPT + 10 {
        alice.say(user("bob"), json!(n)).await;
    }
    cluster.routers[0].kill();
    let larger = "[log]\nmax_messages_per_target = 1000\n";
    cluster.restart_router_with(0, larger).await;
    cluster.ready().await;
    bob.resume(address).await;
    assert_eq!(bob.connected["gap"], true, "{}", bob.connected);
    let history = json!({"history": {"of": {"user": true}, "after": first, "limit": 1}});
    let history = bob.client().ask(history, "history").await;
    assert_eq!(history["gap"], true, "{history}");
    alice.say(user("bob"), json!("mark")).await;
    bob.until_heard(&json!("mark")).await;
    assert_newest(&bob, "user.bob", KEPT + 10);

    // What comes once no server trims by the old limit is kept as the new one says.
    eventually("the raise is noted as done", async || {
        log_metadata(&cluster).await["herald_raised_at"].is_string()
    })
    .await;
    let settled = alice.say(user("bob"), json!("settled")).await["offset"].clone();
    bob.until("a cursor past all that", |bob| past(bob.cursor.as_ref(), &settled))
        .await;
    bob.cut();
    for n in 0..KEPT + 10 {
        alice.say(user("bob"), json!({ "new": n })).await;
    }
    bob.resume(address).await;
    assert_eq!(bob.connected["gap"], false, "{}", bob.connected);
    bob.until_heard(&json!({ "new": KEPT + 9 })).await;
}

/// Whether a cursor stands at an offset or behind it.
fn past(cursor: Option<&String>, offset: &Value) -> bool {
    let number = |text: &str| text.rsplit_once(':').and_then(|(_, number)| number.parse::<u64>().ok());
    cursor.and_then(|cursor| number(cursor)) >= offset.as_str().and_then(number)
}

/// Age and size trim from the front of the whole log, as a purge does; no test can wait for the least age of five
/// minutes.
#[tokio::test]
async fn a_log_that_begins_after_the_cursor_is_a_gap() {
    let cluster = Cluster::start(1, 1).await;
    let address = cluster.gateways[0].public();
    let mut alice = Client::dev(address, "alice").await;
    let mut bob = bob_has_been_at(address).await;
    for n in 0..10 {
        alice.say(user("bob"), json!(n)).await;
    }
    let nats = async_nats::connect(cluster.nats.url()).await.unwrap();
    let purge = format!("STREAM.PURGE.{LOG_STREAM}");
    let purged = api(&nats, &purge, &json!({"keep": 1})).await.unwrap();
    assert_eq!(purged["success"], true, "{purged}");
    bob.resume(address).await;
    assert_eq!(bob.connected["gap"], true, "{}", bob.connected);
    // From then on all is well again.
    alice.say(user("bob"), json!("mark")).await;
    bob.until_heard(&json!("mark")).await;
    bob.cut();
    alice.say(user("bob"), json!("after")).await;
    bob.resume(address).await;
    assert_eq!(bob.connected["gap"], false, "{}", bob.connected);
    bob.until_heard(&json!("after")).await;
}

/// The new log counts from 1 again, and soon has as many messages as the old one had.
#[tokio::test]
async fn a_log_that_was_made_anew_is_a_gap() {
    let mut cluster = Cluster::start(1, 1).await;
    let address = cluster.gateways[0].public();
    let mut bob = bob_has_been_at(address).await;
    cluster.nats.stop();
    cluster.nats.lose_store();
    cluster.nats.start_again().await;
    cluster.ready().await;
    let mut alice = Follower::dev(address, "alice", &[]).await;
    for n in 0..50 {
        alice.outgoing.push(user("bob"), json!(n), format!("k{n}"));
    }
    alice.until("all are sent", |alice| alice.outgoing.is_empty()).await;
    bob.come_back(|| vec![address], Duration::from_secs(30)).await;
    assert_eq!(bob.connected["gap"], true, "{}", bob.connected);
    alice.outgoing.push(user("bob"), json!("mark"), "mark".into());
    alice.until("the mark is sent", |alice| alice.outgoing.is_empty()).await;
    bob.until_heard(&json!("mark")).await;
    assert_eq!(bob.heard.late, 0);
}

/// A membership counts from the offset at which it began. In a new log, which counts from 1 again, that would keep the
/// members from everything for a long time.
#[tokio::test]
async fn memberships_of_an_older_log_count_from_the_beginning_of_the_new_one() {
    let mut cluster = Cluster::start(1, 1).await;
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    for n in 0..50 {
        alice.say(user("alice"), json!(n)).await;
    }
    let mut bob = bob_has_been_at(cluster.gateways[0].public()).await;
    alice.join("g1").await;
    cluster.nats.stop();
    cluster.nats.lose_stream(LOG_STREAM);
    cluster.nats.start_again().await;
    cluster.ready().await;
    // Another gateway, which has not seen the old log.
    cluster.restart_gateway(0).await;
    cluster.ready().await;
    let address = cluster.gateways[0].public();
    bob.come_back(|| vec![address], Duration::from_secs(30)).await;
    assert_eq!(
        (&bob.connected["gap"], &bob.connected["groups"]),
        (&json!(true), &json!(["g1"]))
    );
    bob.cut();
    let mut alice = Follower::dev(address, "alice", &[]).await;
    for n in 0..5 {
        alice.outgoing.push(json!({"group": "g1"}), json!(n), format!("k{n}"));
    }
    alice.until("all are sent", |alice| alice.outgoing.is_empty()).await;
    bob.resume(address).await;
    bob.until("all", |bob| bob.heard.bodies("group.g1").len() == 5).await;
    assert_eq!(bob.heard.late, 0);
}

#[tokio::test]
async fn a_cursor_of_another_cluster_is_a_gap() {
    let (one, two) = (dev_gateway().await, dev_gateway().await);
    let mut bob = bob_has_been_at(one.public()).await;
    assert!(bob.cursor.is_some(), "{}", bob.connected);
    bob.resume(two.public()).await;
    assert_eq!(bob.connected["gap"], true, "{}", bob.connected);
    let mut alice = Client::dev(two.public(), "alice").await;
    alice.say(user("bob"), json!("mark")).await;
    bob.until_heard(&json!("mark")).await;
}

#[tokio::test]
async fn a_malformed_cursor_is_refused_and_never_passed_over() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let offset = alice.say(user("bob"), json!(1)).await["offset"].clone();
    let offset = offset.as_str().unwrap();
    let token = token::dev("bob");
    for dialect in Dialect::BOTH {
        // An offset is no cursor either.
        for cursor in [
            "x",
            "@",
            "5f3a@0",
            "5f3a@0:",
            "5f3a@0:-1",
            "5f3a@0:1e3",
            "5f3a@0:99999999999999999999",
            offset,
        ] {
            let upgrade = Upgrade::to(gateway.public()).dialect(dialect);
            let (mut bob, _) = upgrade
                .clone()
                .text("token", &token)
                .text("cursor", cursor)
                .open()
                .await
                .unwrap();
            assert_eq!(bob.closed().await, 4104, "{cursor}");
            let (mut bob, _) = upgrade.open().await.unwrap();
            let connect = json!({"connect": {"token": token, "cursor": cursor}});
            assert_eq!(bob.refused(connect).await, "bad_request", "{cursor}");
        }
    }
}

#[tokio::test]
async fn what_has_outlived_its_ttl_is_not_given_and_makes_no_gap() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut bob = bob_has_been_at(gateway.public()).await;
    for (body, ttl) in [("short", 1), ("long", 3600)] {
        let send = json!({"to": user("bob"), "body": body, "ttl": ttl});
        alice.ask(json!({"send": send}), "sent").await;
    }
    // The second that it lives, and one more for clocks that count whole ones.
    tokio::time::sleep(Duration::from_secs(2)).await;
    alice.say(user("bob"), json!("mark")).await;
    bob.resume(gateway.public()).await;
    bob.until_heard(&json!("mark")).await;
    assert_eq!(bob.heard.bodies("user.bob"), [json!("long"), json!("mark")]);
    assert_eq!(bob.gaps, 0);
    assert_eq!(bob.connected["resumed"], true);
}
