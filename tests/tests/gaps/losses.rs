//! What the log has lost while nobody, or somebody, was connected.

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    client::{Client, Dialect},
    cluster::{Cluster, LOG_STREAM},
    follower::Follower,
    gateway::{Config, SECRET, dev_gateway},
    nats::cluster::api,
    token,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{KEPT, SMALL_LOG, user};

/// The same cursor, so many sequences further on.
fn ahead(cursor: &str, by: u64) -> String {
    let (log, sequence) = cursor.rsplit_once(':').unwrap();
    format!("{log}:{}", sequence.parse::<u64>().unwrap() + by)
}

async fn a_cursor_ahead_is_a_gap_at(address: SocketAddr) {
    let mut alice = Client::dev(address, "alice").await;
    let mut bob = Follower::dev(address, "bob", &["g1"]).await;
    alice.say(user("bob"), json!("first")).await;
    bob.until_heard(&json!("first")).await;
    bob.until_cursor().await;
    // At the end of the log, or just before it.
    bob.resume(address).await;
    assert_eq!(
        (&bob.connected["resumed"], &bob.connected["gap"]),
        (&json!(true), &json!(false))
    );
    let far = ahead(bob.cursor.as_ref().unwrap(), 500);
    bob.cut();
    bob.cursor = Some(far.clone());
    bob.resume(address).await;
    assert_eq!(
        (&bob.connected["resumed"], &bob.connected["gap"]),
        (&json!(false), &json!(true))
    );
    assert_ne!(bob.connected["cursor"], far);
    alice.say(user("bob"), json!("live")).await;
    bob.until_heard(&json!("live")).await;
    bob.cut();
    for n in 0..3 {
        alice.say(user("bob"), json!(n)).await;
    }
    bob.resume(address).await;
    assert_eq!(
        (&bob.connected["resumed"], &bob.connected["gap"]),
        (&json!(true), &json!(false))
    );
    bob.until_heard(&json!(2)).await;
    let all = [json!("first"), json!("live"), json!(0), json!(1), json!(2)];
    assert_eq!(bob.heard.bodies("user.bob"), all);
}

#[tokio::test]
async fn a_cursor_ahead_of_the_log_is_a_gap() {
    a_cursor_ahead_is_a_gap_at(dev_gateway().await.public()).await;
    a_cursor_ahead_is_a_gap_at(Cluster::start(1, 1).await.addresses()[0]).await;
}

/// A backup is put back: the same log, with fewer messages. Bob stays connected; carol and dave come back.
#[tokio::test]
async fn a_log_that_has_lost_its_end_is_a_gap_for_whoever_was_ahead() {
    let mut cluster = Cluster::start(1, 1).await;
    let address = cluster.addresses()[0];
    let mut alice = Client::dev(address, "alice").await;
    let mut dave = Follower::dev(address, "dave", &["g1"]).await;
    alice.say(user("dave"), json!("old")).await;
    dave.until_heard(&json!("old")).await;
    dave.until_cursor().await;
    dave.cut();
    cluster.nats.stop();
    cluster.nats.keep_store();
    cluster.nats.start_again().await;
    cluster.ready().await;

    let mut bob = Follower::dev(address, "bob", &["g1"]).await;
    let mut carol = Follower::dev(address, "carol", &["g1"]).await;
    let mut alice = Client::dev(address, "alice").await;
    alice.join("g1").await;
    for n in 0..200 {
        alice.say(json!({"group": "g1"}), json!(n)).await;
    }
    carol.until_heard(&json!(199)).await;
    carol.until_cursor().await;
    carol.cut();
    bob.until_heard(&json!(199)).await;
    cluster.nats.stop();
    cluster.nats.put_back_store();
    cluster.nats.start_again().await;

    // At once, perhaps before the gateway can know.
    let mut alice = Follower::new("alice", Dialect::Json, token::dev("alice"));
    alice.come_back(|| vec![address], Duration::from_secs(30)).await;
    alice.outgoing.push(user("bob"), json!("soon"), "soon".into());
    alice.until("it is sent", |alice| alice.outgoing.is_empty()).await;
    bob.until("the notice", |bob| bob.notices == ["gap"]).await;
    bob.until_cursor().await;
    bob.until_heard(&json!("soon")).await;
    cluster.ready().await;
    alice.outgoing.push(user("bob"), json!("live"), "live".into());
    alice.until("it is sent", |alice| alice.outgoing.is_empty()).await;
    bob.until_heard(&json!("live")).await;
    assert!(!bob.heard.has(&json!("old")), "what was before him is none of his");
    // He has heard of the gap.
    bob.resume(address).await;
    assert_eq!(
        (&bob.connected["resumed"], &bob.connected["gap"]),
        (&json!(true), &json!(false))
    );
    carol.come_back(|| vec![address], Duration::from_secs(10)).await;
    assert_eq!(
        (&carol.connected["resumed"], &carol.connected["gap"]),
        (&json!(false), &json!(true))
    );
    // Who was not ahead has lost nothing.
    dave.come_back(|| vec![address], Duration::from_secs(10)).await;
    assert_eq!(
        (&dave.connected["resumed"], &dave.connected["gap"]),
        (&json!(true), &json!(false))
    );
}

/// Connected all the while: told once, with a cursor of the new log, and not again.
#[tokio::test]
async fn after_the_notice_of_a_new_log_comes_a_cursor_of_it() {
    let mut cluster = Cluster::start(1, 1).await;
    let address = cluster.addresses()[0];
    let mut bob = Follower::dev(address, "bob", &["g1"]).await;
    cluster.nats.stop();
    cluster.nats.lose_store();
    cluster.nats.start_again().await;
    bob.until("the notice", |bob| bob.notices == ["gap"]).await;
    bob.until_cursor().await;
    bob.resume(address).await;
    assert_eq!(
        (&bob.connected["resumed"], &bob.connected["gap"]),
        (&json!(true), &json!(false))
    );
}

async fn api_of(nats: &async_nats::Client, verb: &str, body: &Value) -> Value {
    let answer = api(nats, &format!("STREAM.{verb}.{LOG_STREAM}"), body).await.unwrap();
    assert!(answer.get("error").is_none(), "{verb}: {answer}");
    answer
}

/// The live copies are lost, and then the messages are.
#[tokio::test]
async fn who_is_connected_is_told_of_what_was_purged_before_it_came() {
    let cluster = Cluster::start(1, 1).await;
    let address = cluster.addresses()[0];
    let mut alice = Client::dev(address, "alice").await;
    let mut bob = Follower::dev(address, "bob", &["g1"]).await;
    let nats = async_nats::connect(cluster.nats.url()).await.unwrap();
    let mut config = api_of(&nats, "INFO", &json!({})).await["config"].take();
    config.as_object_mut().unwrap().remove("republish").unwrap();
    api_of(&nats, "UPDATE", &config).await;
    alice.say(user("bob"), json!("swept")).await;
    bob.until_heard(&json!("swept")).await;
    bob.until_cursor().await;
    for n in 0..3 {
        alice.say(user("bob"), json!(n)).await;
    }
    api_of(&nats, "PURGE", &json!({})).await;
    let end = bob.run(Instant::now() + Duration::from_secs(20)).await;
    assert!(end.as_ref().is_err_and(|why| why.contains("4005")), "{end:?}");
    assert!(!bob.heard.has(&json!(0)));
    bob.come_back(|| vec![address], Duration::from_secs(10)).await;
    assert_eq!(bob.connected["gap"], true);
    // Only once.
    let stays = bob.run(Instant::now() + Duration::from_secs(11)).await;
    assert_eq!(stays, Ok(()));
}

/// A page of the log that was read a moment ago is no help to one who comes back when it has been trimmed.
#[tokio::test]
async fn what_was_trimmed_just_after_it_was_read_is_a_gap_at_once() {
    let config = Config {
        rest: SMALL_LOG.into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let good = |user: &str| token::hs256(SECRET, &token::claims(user));
    let mut alice = Client::with_token(address, Dialect::Json, &good("alice")).await;
    let mut bob = Follower::new("bob", Dialect::Json, good("bob"));
    bob.resume(address).await;
    bob.cut();
    let cursor = bob.cursor.clone();
    for n in 0..5 {
        alice.say(user("bob"), json!(n)).await;
    }
    bob.resume(address).await;
    bob.until_heard(&json!(4)).await;
    bob.cut();
    for n in 5..30 {
        alice.say(user("bob"), json!(n)).await;
    }
    bob.cursor = cursor;
    bob.resume(address).await;
    assert_eq!(bob.connected["gap"], true);
    bob.until_heard(&json!(29)).await;
    assert_eq!(bob.heard.bodies("user.bob").len(), 5 + KEPT);
    assert_eq!(bob.run(Instant::now() + Duration::from_secs(2)).await, Ok(()));
}
