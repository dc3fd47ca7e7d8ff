//! Routers die, and no message is lost, doubled or out of order.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    client::{Client, Dialect, Event, Upgrade},
    cluster::Cluster,
    token,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Enough to be in the middle of it when a router dies.
const MESSAGES: u64 = 2_000;

/// Sends until the answer is `sent`, under the same key, as long as that may be tried again. The retries it took.
async fn send_surely(client: &mut Client, number: u64) -> usize {
    let command = json!({"send": {"to": {"user": "bob"}, "body": number, "key": format!("k{number}")}});
    let mut answer = Value::Null;
    for retries in 0..50 {
        answer = client.command(command.clone()).await;
        if answer.get("sent").is_some() {
            return retries;
        }
        assert_eq!(answer["error"]["retry"], true, "message {number}: {answer}");
        let pause = answer["error"]["after_ms"].as_u64().unwrap_or(50);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    panic!("message {number} was never sent: {answer}");
}

/// Bob on the second gateway, reading from the start; all that he got once he has had number `MESSAGES`.
fn listen(mut bob: Client) -> tokio::task::JoinHandle<Vec<Value>> {
    tokio::spawn(async move {
        let mut heard = Vec::new();
        loop {
            let message = bob.next_message().await;
            if message["body"] == "end" {
                return heard;
            }
            heard.push(message["body"].clone());
        }
    })
}

#[tokio::test]
async fn a_router_killed_under_load_loses_doubles_and_disorders_nothing() {
    let mut cluster = Cluster::start(2, 2).await;
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    let bob = listen(Client::dev(cluster.gateways[1].public(), "bob").await);
    for number in 0..MESSAGES {
        if number == MESSAGES / 3 {
            cluster.routers[0].kill();
        }
        send_surely(&mut alice, number).await;
    }
    alice.say(json!({"user": "bob"}), json!("end")).await;
    let heard = bob.await.expect("bob hears to the end");
    let expected: Vec<Value> = (0..MESSAGES).map(Value::from).collect();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn a_router_killed_under_pipelined_load_loses_and_doubles_nothing() {
    const SENDERS: u64 = 8;
    let mut cluster = Cluster::start(2, 2).await;
    let bob = listen(Client::dev(cluster.gateways[1].public(), "bob").await);
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        // All senders are one user: her keys are one set.
        let mut alice = Client::dev(cluster.gateways[usize::try_from(sender % 2).unwrap()].public(), "alice").await;
        senders.push(tokio::spawn(async move {
            for number in 0..MESSAGES / SENDERS {
                send_surely(&mut alice, sender * 1_000_000 + number).await;
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.routers[1].kill();
    for sender in senders {
        sender.await.expect("every message is sent");
    }
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    alice.say(json!({"user": "bob"}), json!("end")).await;
    let heard: Vec<u64> = bob
        .await
        .expect("bob hears to the end")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    for sender in 0..SENDERS {
        let of_sender: Vec<u64> = heard.iter().copied().filter(|n| n / 1_000_000 == sender).collect();
        let expected: Vec<u64> = (0..MESSAGES / SENDERS).map(|n| sender * 1_000_000 + n).collect();
        assert_eq!(
            of_sender, expected,
            "each once, in the order in which one connection sent them"
        );
    }
}

#[tokio::test]
async fn a_router_that_is_asked_to_stop_is_not_missed() {
    let mut cluster = Cluster::start(2, 1).await;
    let mut alice = Client::dev(cluster.gateways[0].public(), "alice").await;
    let bob = listen(Client::dev(cluster.gateways[0].public(), "bob").await);
    let mut retries = 0;
    for number in 0..MESSAGES {
        if number == MESSAGES / 3 {
            cluster.routers[0].terminate();
        }
        retries += send_surely(&mut alice, number).await;
    }
    assert_eq!(retries, 0, "no command failed");
    assert_eq!(cluster.routers[0].exit().await.code(), Some(0));
    send_surely(&mut alice, MESSAGES).await;
    alice.say(json!({"user": "bob"}), json!("end")).await;
    let heard = bob.await.expect("bob hears to the end");
    assert_eq!(heard, (0..=MESSAGES).map(Value::from).collect::<Vec<_>>());
}

/// The close code for those who do not say it tells them not to come back.
#[tokio::test]
async fn who_says_in_time_who_it_is_is_let_in_however_long_the_routers_take() {
    let cluster = Cluster::start_with_gateways(1, 1, "[limits]\nconnect_timeout = \"500ms\"\n").await;
    cluster.routers[0].signal(Signal::STOP);
    let upgrade = Upgrade::to(cluster.gateways[0].public()).dialect(Dialect::Json);
    let (mut client, _) = upgrade.try_open().await.unwrap();
    client.start(json!({"connect": {"token": token::dev("alice")}})).await;
    // Far longer than the client has.
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.routers[0].signal(Signal::CONT);
    match client.event().await {
        Event::Frame(frame) => assert_eq!(frame["connected"]["user"], "alice", "{frame}"),
        other => panic!("{other:?}"),
    }
}
