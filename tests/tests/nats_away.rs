//! NATS goes and comes back: connections stay, clients that connect meanwhile are told, and nothing is lost.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{cluster::Cluster, eventually, follower::Follower, http::messages};
use serde_json::{Value, json};

fn user(id: &str) -> Value {
    json!({"user": id})
}

fn group(id: &str) -> Value {
    json!({"group": id})
}

#[tokio::test]
async fn while_nats_is_lost_connections_stay_and_nothing_is_lost() {
    let mut cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Follower::dev(one, "alice", &["g1"]).await;
    let mut bob = Follower::dev(two, "bob", &["g1"]).await;
    let ask = |alice: &mut Follower, n: usize| {
        let to = if n.is_multiple_of(2) { user("bob") } else { group("g1") };
        alice.outgoing.push(to, json!(n), format!("k{n}"));
    };
    for n in 0..20 {
        ask(&mut alice, n);
    }
    alice
        .until("some are sent", |alice| alice.outgoing.sent.len() >= 5)
        .await;
    cluster.nats.stop();
    for n in 20..40 {
        ask(&mut alice, n);
    }
    alice
        .until("some are refused", |alice| alice.outgoing.retries > 0)
        .await;
    cluster.nats.start_again().await;
    alice.until("all are sent", |alice| alice.outgoing.is_empty()).await;
    // On the same connections throughout: `until` fails where one ends.
    bob.until("all", |bob| bob.heard.count() >= 40).await;
    alice.until("her own", |alice| alice.heard.count() >= 20).await;
    for (target, listeners) in [("user.bob", vec![&bob]), ("group.g1", vec![&alice, &bob])] {
        let mut sent: Vec<_> = alice
            .outgoing
            .sent
            .iter()
            .filter(|sent| sent.target == target)
            .collect();
        sent.sort_by_key(|sent| sent.sequence);
        let sent: Vec<&str> = sent.iter().map(|sent| sent.id.as_str()).collect();
        for listener in listeners {
            assert_eq!(listener.heard.ids(target), sent, "{target} to {}", listener.user);
        }
    }
}

#[tokio::test]
async fn a_connect_whose_log_cannot_be_read_waits_five_seconds_and_closes_with_4005() {
    let mut cluster = Cluster::start(1, 1).await;
    let address = cluster.gateways[0].public();
    let mut bob = Follower::dev(address, "bob", &["g1"]).await;
    bob.cut();
    cluster.nats.stop();
    let asked = std::time::Instant::now();
    let refused = bob.try_resume(address).await;
    let waited = asked.elapsed();
    assert!(
        refused.as_ref().is_err_and(|why| why.starts_with("closed with 4005")),
        "{refused:?}"
    );
    assert!(waited >= Duration::from_millis(4_500), "{waited:?}");
    assert!(waited < Duration::from_secs(9), "{waited:?}");

    // One that comes back in time finds all that it had missed.
    let returning = tokio::spawn(async move {
        bob.come_back(|| vec![address], Duration::from_secs(30)).await;
        bob
    });
    cluster.nats.start_again().await;
    cluster.ready().await;
    let mut bob = returning.await.unwrap();
    assert_eq!(bob.gaps, 0, "NATS has lost nothing");
    eventually("a message is taken", async || {
        let body = json!({"to": user("bob"), "body": "mark", "key": "mark"});
        messages(cluster.gateways[0].admin(), &body).await[0]
            .get("error")
            .is_none()
    })
    .await;
    bob.until_heard(&json!("mark")).await;
}
