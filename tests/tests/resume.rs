//! A client that was away, cut or slow comes back with its cursor and has missed nothing.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::Cluster,
    events::Events,
    follower::Follower,
    gateway::dev_gateway,
    http::messages,
    token,
};
use serde_json::{Value, json};

const GROUPS: [&str; 3] = ["g1", "g2", "g3"];

fn user(id: &str) -> Value {
    json!({"user": id})
}

fn group(id: &str) -> Value {
    json!({"group": id})
}

/// Alice, member of bob's groups.
async fn alice(address: SocketAddr) -> Client {
    let token = token::dev_with("alice", &json!({"groups": GROUPS}));
    Client::with_token(address, Dialect::Json, &token).await
}

/// Message `n` of a round over bob's inbox and groups.
async fn say(alice: &mut Client, n: usize) {
    let to = match n % 4 {
        0 => user("bob"),
        i => group(GROUPS[i - 1]),
    };
    alice.say(to, json!(n)).await;
}

/// What each of bob's targets must have got of the first `count` messages of [`say`].
fn assert_heard(bob: &Follower, count: usize) {
    for (i, target) in ["user.bob", "group.g1", "group.g2", "group.g3"].iter().enumerate() {
        let expected: Vec<Value> = (i..count).step_by(4).map(Value::from).collect();
        assert_eq!(bob.heard.bodies(target), expected, "{target}");
    }
    assert_eq!(bob.heard.late, 0);
    assert_eq!(bob.gaps, 0);
}

#[tokio::test]
async fn the_first_connect_delivers_from_now_on() {
    let gateway = dev_gateway().await;
    let mut alice = alice(gateway.public()).await;
    alice.say(user("bob"), json!("before")).await;
    let mut bob = Follower::dev(gateway.public(), "bob", &["g1"]).await;
    assert_eq!(bob.connected["resumed"], false);
    assert_eq!(bob.connected["gap"], false);
    assert!(bob.connected["cursor"].is_string(), "{}", bob.connected);
    alice.say(group("g1"), json!("after")).await;
    alice.say(user("bob"), json!("after")).await;
    bob.until("both", |bob| bob.heard.count() == 2).await;
    assert!(!bob.heard.has(&json!("before")));
}

#[tokio::test]
async fn since_start_brings_all_that_is_kept_of_the_own_inbox() {
    let gateway = dev_gateway().await;
    let mut alice = alice(gateway.public()).await;
    Follower::dev(gateway.public(), "bob", &["g1"]).await.cut();
    for n in 0..5 {
        alice.say(user("bob"), json!(n)).await;
        alice.say(group("g1"), json!("not of the inbox")).await;
    }
    for by_frame in [false, true] {
        for dialect in Dialect::BOTH {
            let token = token::dev("bob");
            let upgrade = Upgrade::to(gateway.public()).dialect(dialect);
            let mut bob = if by_frame {
                let (mut bob, _) = upgrade.open().await.unwrap();
                let connect = json!({"connect": {"token": token, "since": "start"}});
                bob.connected = bob.ask(connect, "connected").await;
                bob
            } else {
                upgrade.query("token", &token).query("since", "start").connect().await
            };
            assert_eq!(bob.connected["gap"], false);
            for n in 0..5 {
                let message = bob.next_message().await;
                assert_eq!((&message["body"], &message["from"]), (&json!(n), &json!("alice")));
            }
            messages(
                gateway.admin(),
                &json!({"to": user("bob"), "body": "mark", "durable": false}),
            )
            .await;
            assert_eq!(bob.next_message().await["body"], "mark");
        }
    }
}

/// The cursor of its welcome does not say that it has what is still to come.
#[tokio::test]
async fn who_is_cut_off_before_the_inbox_has_come_gets_the_rest() {
    const COUNT: usize = 300;
    let gateway = dev_gateway().await;
    let mut alice = alice(gateway.public()).await;
    for n in 0..COUNT {
        alice
            .say(user("bob"), json!({"n": n, "much": "x".repeat(8 << 10)}))
            .await;
    }
    let token = token::dev("bob");
    let narrow = Upgrade::to(gateway.public()).narrow();
    let mut first = narrow.text("token", &token).query("since", "start").connect().await;
    assert_eq!(first.next_message().await["body"]["n"], 0);
    let cursor = first.connected["cursor"].as_str().unwrap().to_owned();
    drop(first);
    let mut second = Upgrade::to(gateway.public())
        .text("token", &token)
        .text("cursor", &cursor)
        .connect()
        .await;
    assert_eq!(second.connected["resumed"], true);
    assert_eq!(second.connected["gap"], false);
    let bodies = second.messages(COUNT).await;
    assert!((0..COUNT).all(|n| bodies[n]["body"]["n"] == n));
    // Browsers do that by themselves.
    let mut events = Events::open(gateway.public(), &format!("token={token}&since=start"), &[]).await;
    events.named("connected").await;
    let last = events.last_id.clone().unwrap();
    drop(events);
    let again = [("Last-Event-ID", last.as_str())];
    let mut events = Events::open(gateway.public(), &format!("token={token}&since=start"), &again).await;
    for n in 0..COUNT {
        assert_eq!(events.named("message").await["message"]["body"]["n"], n);
    }
}

#[tokio::test]
async fn a_cursor_is_pushed_soon_and_what_it_covers_is_not_given_again() {
    let cluster = Cluster::start(1, 2).await;
    let mut alice = alice(cluster.gateways[0].public()).await;
    let mut bob = Follower::dev(cluster.gateways[1].public(), "bob", &GROUPS).await;
    for n in 0..20 {
        say(&mut alice, n).await;
    }
    bob.until("the messages", |bob| bob.heard.count() == 20).await;
    bob.until_cursor().await;
    bob.cut();
    for n in 20..30 {
        say(&mut alice, n).await;
    }
    let connected = bob.resume(cluster.gateways[0].public()).await;
    assert_eq!(connected["resumed"], true, "{connected}");
    bob.until("the rest", |bob| bob.heard.count() == 30).await;
    assert_eq!(bob.heard.repeated, 0);
    assert_heard(&bob, 30);
}

/// 300 messages while bob is away, and newer ones in the very moment in which he returns to `back`.
async fn is_away_for_300(from: SocketAddr, back: SocketAddr, dialect: Dialect, by_frame: bool) {
    let mut alice = alice(from).await;
    let token = token::dev_with("bob", &json!({"groups": GROUPS}));
    let mut bob = Follower::new("bob", dialect, token);
    bob.by_frame = by_frame;
    bob.resume(from).await;
    for n in 0..8 {
        say(&mut alice, n).await;
    }
    bob.until("what came before", |bob| bob.heard.count() == 8).await;
    bob.cut();
    for n in 8..308 {
        say(&mut alice, n).await;
    }
    let newer = tokio::spawn(async move {
        for n in 308..400 {
            say(&mut alice, n).await;
        }
    });
    let connected = bob.resume(back).await;
    assert_eq!(
        (&connected["resumed"], &connected["gap"]),
        (&json!(true), &json!(false)),
        "{connected}"
    );
    bob.until("all", |bob| bob.heard.count() >= 400).await;
    newer.await.unwrap();
    assert_heard(&bob, 400);
    assert!(bob.heard.repeated <= 8, "more than what came since the cursor");
}

#[tokio::test]
async fn one_who_is_away_during_300_messages_gets_exactly_those() {
    for (dialect, by_frame) in [(Dialect::Json, false), (Dialect::Proto, true)] {
        let gateway = dev_gateway().await;
        is_away_for_300(gateway.public(), gateway.public(), dialect, by_frame).await;
    }
}

#[tokio::test]
async fn one_who_is_away_during_300_messages_gets_exactly_those_on_another_node() {
    for (dialect, by_frame) in [(Dialect::Json, true), (Dialect::Proto, false)] {
        let cluster = Cluster::start(2, 2).await;
        let [one, two] = cluster.addresses()[..] else {
            unreachable!()
        };
        is_away_for_300(one, two, dialect, by_frame).await;
    }
}

#[tokio::test]
async fn each_device_has_a_cursor_of_its_own() {
    let gateway = dev_gateway().await;
    let mut alice = alice(gateway.public()).await;
    let mut phone = Follower::dev(gateway.public(), "bob", &GROUPS).await;
    say(&mut alice, 0).await;
    phone.until("the first", |phone| phone.heard.count() == 1).await;
    phone.cut();
    let mut desk = Follower::dev(gateway.public(), "bob", &GROUPS).await;
    for n in 1..9 {
        say(&mut alice, n).await;
    }
    desk.until("what came since", |desk| desk.heard.count() == 8).await;
    phone.resume(gateway.public()).await;
    phone
        .until("what came meanwhile", |phone| phone.heard.count() == 9)
        .await;
    assert_heard(&phone, 9);
}

/// Membership counts from the offset at which it began, not from the cursor.
#[tokio::test]
async fn of_a_group_joined_meanwhile_one_gets_what_came_since_the_joining() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Client::dev(one, "alice").await;
    alice.join("late").await;
    let mut phone = Follower::dev(one, "bob", &[]).await;
    phone.cut();
    for _ in 0..5 {
        alice.say(group("late"), json!("before")).await;
    }
    let mut desk = Client::dev(two, "bob").await;
    desk.join("late").await;
    for n in 0..5 {
        alice.say(group("late"), json!(n)).await;
    }
    alice.say(user("bob"), json!("mark")).await;
    let connected = phone.resume(one).await;
    assert_eq!(connected["groups"], json!(["late"]));
    phone.until("all", |phone| phone.heard.count() >= 6).await;
    assert_eq!(
        phone.heard.bodies("group.late"),
        (0..5).map(Value::from).collect::<Vec<_>>()
    );
}

/// What was sent to a group after one had left it is none of one's business, though the cursor is older.
#[tokio::test]
async fn of_a_group_left_meanwhile_one_gets_nothing_from_after_the_leaving() {
    let gateway = dev_gateway().await;
    let mut alice = alice(gateway.public()).await;
    let mut phone = Follower::dev(gateway.public(), "bob", &["g1"]).await;
    phone.cut();
    let mut desk = Client::dev(gateway.public(), "bob").await;
    desk.ask(json!({"leave": {"group": "g1"}}), "left").await;
    alice.say(group("g1"), json!("not for bob")).await;
    alice.say(user("bob"), json!("mark")).await;
    // The token would join g1 again.
    let mut bob = Follower::new("bob", Dialect::Json, token::dev("bob"));
    bob.cursor = phone.cursor.take();
    bob.resume(gateway.public()).await;
    bob.until_heard(&json!("mark")).await;
    assert_eq!(bob.heard.count(), 1, "{:?}", bob.heard.targets);
}
