//! One key is one message for each target, however often and wherever it is sent again.
#![allow(clippy::unwrap_used)]

use herald_tests::{
    client::{Client, Dialect},
    cluster::Cluster,
    follower::Follower,
    heard::split,
    http::messages,
    token,
};
use serde_json::{Value, json};

fn user(id: &str) -> Value {
    json!({"user": id})
}

fn with_key(to: &Value, body: Value) -> Value {
    json!({"send": {"to": to, "body": body, "key": "k-1"}})
}

fn assert_same(again: &Value, first: &Value) {
    assert_eq!(first["duplicate"], false, "{first}");
    assert_eq!(again["duplicate"], true, "{again}");
    for name in ["id", "offset"] {
        assert_eq!(again[name], first[name], "{name} of the first");
    }
}

#[tokio::test]
async fn the_same_key_to_three_targets_is_three_messages_and_to_one_is_one() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    for dialect in Dialect::BOTH {
        let name = format!("alice-{dialect:?}");
        let token = token::dev_with(&name, &json!({"groups": ["g1"], "broadcast": true}));
        let mut alice = Client::with_token(one, dialect, &token).await;
        let mut bob = Follower::dev(two, "bob", &["g1"]).await;
        let mut firsts: Vec<Value> = Vec::new();
        for to in [user("bob"), json!({"group": "g1"}), json!({"all": true})] {
            let first = alice.ask(with_key(&to, json!(1)), "sent").await;
            assert!(firsts.iter().all(|other| other["offset"] != first["offset"]));
            for _ in 0..3 {
                // Another body does not make another message: the key decides.
                let again = alice.ask(with_key(&to, json!(2)), "sent").await;
                assert_same(&again, &first);
            }
            firsts.push(first);
        }
        alice.say(user("bob"), json!("mark")).await;
        bob.until_heard(&json!("mark")).await;
        assert_eq!(bob.heard.bodies("user.bob"), [json!(1), json!("mark")]);
        assert_eq!(bob.heard.bodies("group.g1"), [json!(1)]);
        assert_eq!(bob.heard.bodies("all"), [json!(1)]);
    }
}

#[tokio::test]
async fn one_call_of_the_application_with_a_key_reaches_each_of_its_targets_once() {
    let cluster = Cluster::start(2, 2).await;
    let names = ["u1", "u2", "u3"];
    let mut users = Vec::new();
    for name in names {
        users.push(Follower::dev(cluster.gateways[0].public(), name, &[]).await);
    }
    let call = json!({"to": {"users": names}, "body": "once", "key": "k-1"});
    let first = messages(cluster.gateways[0].admin(), &call).await;
    let again = messages(cluster.gateways[1].admin(), &call).await;
    assert_eq!((first.len(), again.len()), (3, 3));
    for (again, first) in again.iter().zip(&first) {
        assert_same(again, first);
    }
    messages(
        cluster.gateways[1].admin(),
        &json!({"to": {"users": names}, "body": "mark"}),
    )
    .await;
    for (user, sent) in users.iter_mut().zip(&first) {
        user.until_heard(&json!("mark")).await;
        let target = format!("user.{}", user.user);
        assert_eq!(user.heard.bodies(&target), [json!("once"), json!("mark")]);
        assert_eq!(user.heard.ids(&target)[0], sent["id"]);
    }
}

/// Sent one after another: so the first of them is the one that counts, and the others are its retries.
#[tokio::test]
async fn one_call_with_a_key_and_the_same_target_again_and_again_counts_the_first() {
    let cluster = Cluster::start(2, 1).await;
    let admin = cluster.gateways[0].admin();
    let names = ["u1", "u2", "u1", "u3", "u1", "u2"];
    for n in 0..20 {
        let call = json!({"to": {"users": names}, "body": n, "key": format!("k-{n}")});
        let results = messages(admin, &call).await;
        assert_eq!(results.len(), names.len());
        for (i, name) in names.iter().enumerate() {
            let first = names.iter().position(|other| other == name).unwrap();
            if first < i {
                assert_same(&results[i], &results[first]);
            } else {
                assert_eq!(results[i]["duplicate"], false, "{i}: {results:?}");
            }
        }
    }
    // Without a key each is a message of its own, in the order of the call.
    let call = json!({"to": {"users": vec!["u1"; 50]}, "body": "plain"});
    let results = messages(admin, &call).await;
    let sequence = |sent: &Value| split(&sent["offset"]).1;
    assert!(
        results.is_sorted_by(|one, next| sequence(one) < sequence(next)),
        "{results:?}"
    );
}

/// Nobody could find anything under an id that was made up for the answer.
#[tokio::test]
async fn a_duplicate_of_what_is_no_longer_kept_tells_no_id() {
    let cluster = Cluster::start_with(1, 1, "[log]\nmax_messages_per_target = 20\n").await;
    let (address, admin) = (cluster.gateways[0].public(), cluster.gateways[0].admin());
    let of_the_application = json!({"to": user("bob"), "body": 1, "key": "k-1"});
    let first_call = messages(admin, &of_the_application).await.remove(0);
    let mut firsts = Vec::new();
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(address, dialect, &token::dev(&format!("alice-{dialect:?}"))).await;
        let first = alice.ask(with_key(&user("bob"), json!(1)), "sent").await;
        assert!(first["id"].is_string() && first["time"].is_u64(), "{first}");
        firsts.push((alice, first));
    }
    for n in 0..30 {
        messages(admin, &json!({"to": user("bob"), "body": n})).await;
    }
    let assert_forgotten = |again: &Value, first: &Value| {
        assert_eq!(
            (&again["duplicate"], &again["offset"]),
            (&json!(true), &first["offset"])
        );
        assert_eq!((again.get("id"), again.get("time")), (None, None), "{again}");
    };
    for (mut alice, first) in firsts {
        let again = alice.ask(with_key(&user("bob"), json!(1)), "sent").await;
        assert_forgotten(&again, &first);
    }
    assert_forgotten(&messages(admin, &of_the_application).await[0], &first_call);
}

/// The answer was lost with the node: the key finds the first message on another.
#[tokio::test]
async fn a_key_outlives_the_gateway_and_the_router_that_took_it() {
    let mut cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut bob = Follower::dev(two, "bob", &[]).await;
    let mut alice = Client::dev(one, "alice").await;
    let first = alice.ask(with_key(&user("bob"), json!(1)), "sent").await;
    cluster.gateways[0].kill();
    cluster.routers[0].kill();
    cluster.restart_router(0).await;
    cluster.routers[1].kill();
    let mut alice = Client::dev(two, "alice").await;
    let again = alice.ask(with_key(&user("bob"), json!(1)), "sent").await;
    assert_same(&again, &first);
    alice.say(user("bob"), json!("mark")).await;
    bob.until_heard(&json!("mark")).await;
    assert_eq!(bob.heard.bodies("user.bob"), [json!(1), json!("mark")]);
}

/// As one whose connection breaks off with every answer still on its way.
#[tokio::test]
async fn a_sender_that_is_cut_again_and_again_sends_each_message_once() {
    const MESSAGES: usize = 400;
    let cluster = Cluster::start(2, 2).await;
    let addresses = cluster.addresses();
    let mut bob = Follower::dev(addresses[0], "bob", &[]).await;
    let mut alice = Follower::dev(addresses[0], "alice", &[]).await;
    for n in 0..MESSAGES {
        alice.outgoing.push(user("bob"), json!(n), format!("k{n}"));
    }
    let mut cuts = 0;
    while !alice.outgoing.is_empty() {
        let answered = alice.outgoing.sent.len();
        alice
            .until("more are sent", |alice| {
                alice.outgoing.sent.len() >= answered + 10 || alice.outgoing.is_empty()
            })
            .await;
        if !alice.outgoing.is_empty() {
            cuts += 1;
            alice.cut();
            alice.resume(addresses[cuts % 2]).await;
        }
    }
    assert!(cuts > 10 && alice.outgoing.retries > 0, "it was cut in the middle");
    bob.until("all", |bob| bob.heard.count() >= MESSAGES).await;
    let mut sent = alice.outgoing.sent;
    sent.sort_by_key(|sent| sent.sequence);
    let sent: Vec<&str> = sent.iter().map(|sent| sent.id.as_str()).collect();
    assert_eq!(bob.heard.ids("user.bob"), sent);
    assert!(
        !bob.client()
            .hears("message", std::time::Duration::from_millis(300))
            .await
    );
}

#[tokio::test]
async fn a_copy_reaches_the_senders_other_devices_once_and_waits_for_those_who_are_away() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut phone = Client::dev(one, "alice").await;
    let mut desk = Follower::dev(two, "alice", &[]).await;
    let mut away = Follower::dev(two, "alice", &[]).await;
    away.cut();
    let send = json!({"send": {"to": user("bob"), "body": "copied", "key": "k-1", "copy": true}});
    let first = phone.ask(send.clone(), "sent").await;
    let again = phone.ask(send, "sent").await;
    assert_same(&again, &first);
    phone.say(user("bob"), json!("not copied")).await;
    phone.say(user("alice"), json!("mark")).await;
    away.resume(one).await;
    for device in [&mut desk, &mut away] {
        device.until_heard(&json!("mark")).await;
        assert_eq!(device.heard.bodies("user.alice"), [json!("copied"), json!("mark")]);
        assert_eq!(device.heard.ids("user.alice")[0], first["id"]);
    }
}
