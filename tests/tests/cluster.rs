//! Several routers and gateways over one NATS are one Herald.

use std::time::{Duration, Instant};

use herald_tests::{
    client::{Client, Dialect},
    cluster::{Cluster, dev_router},
    eventually,
    gateway::{FREE, dev_gateway_with},
    http::{get, messages},
    monitor::Monitor,
    nats::NatsServer,
    process::Node,
    token,
};
use serde_json::{Value, json};

async fn on(gateway: &Node, user: &str) -> Client {
    Client::dev(gateway.public(), user).await
}

fn group(id: &str) -> Value {
    json!({"group": id})
}

#[tokio::test]
async fn users_groups_and_everybody_are_reached_across_gateways() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    let claims = json!({"broadcast": true});
    for (ours, theirs) in [(Dialect::Json, Dialect::Proto), (Dialect::Proto, Dialect::Json)] {
        let token = token::dev_with("alice", &claims);
        let mut alice = Client::with_token(one.public(), ours, &token).await;
        let mut bob = Client::with_token(two.public(), theirs, &token::dev("bob")).await;
        alice.join("g1").await;
        bob.join("g1").await;
        for to in [json!({"user": "bob"}), group("g1"), json!({"all": true})] {
            for durable in [true, false] {
                let send = json!({"to": to, "body": {"n": 1}, "durable": durable});
                let sent = alice.ask(json!({"send": send}), "sent").await;
                let message = bob.next_message().await;
                assert_eq!(message["id"], sent["id"]);
                assert_eq!(message["from"], "alice");
                assert_eq!(message["to"], to);
                assert_eq!(message.get("offset"), sent.get("offset"));
                assert_eq!(message.get("offset").is_some(), durable);
            }
        }
        let sent = bob.say(json!({"user": "alice"}), json!("back")).await;
        // Before it, alice has her own messages to the group and to all.
        assert_eq!(alice.messages(5).await[4]["id"], sent["id"]);
    }
}

#[tokio::test]
async fn presence_holds_across_gateways() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    let mut alice = on(one, "alice").await;
    let online = async |alice: &mut Client| alice.say(json!({"user": "bob"}), json!(1)).await["online"] == true;
    assert!(!online(&mut alice).await);
    let bob = on(two, "bob").await;
    eventually("bob is online", async || online(&mut alice).await).await;
    bob.close().await;
    eventually("bob is offline", async || !online(&mut alice).await).await;
}

#[tokio::test]
async fn the_users_of_a_killed_gateway_go_offline() {
    let mut cluster = Cluster::start(1, 2).await;
    let mut alice = on(&cluster.gateways[0], "alice").await;
    let _bob = on(&cluster.gateways[1], "bob").await;
    let online = async |alice: &mut Client| alice.say(json!({"user": "bob"}), json!(1)).await["online"] == true;
    eventually("bob is online", async || online(&mut alice).await).await;
    cluster.gateways[1].kill();
    eventually("bob is offline", async || !online(&mut alice).await).await;
}

#[tokio::test]
async fn a_group_joined_on_one_node_is_heard_by_the_users_device_on_another() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    let mut alice = on(one, "alice").await;
    let mut phone = on(one, "bob").await;
    let mut desk = Client::with_token(two.public(), Dialect::Proto, &token::dev("bob")).await;
    alice.join("g1").await;
    phone.join("g1").await;
    assert_eq!(desk.next("group").await, json!({"group": "g1", "joined": true}));
    let sent = alice.say(group("g1"), json!(1)).await;
    assert_eq!(phone.next_message().await["id"], sent["id"]);
    assert_eq!(desk.next_message().await["id"], sent["id"]);

    phone.ask(json!({"leave": {"group": "g1"}}), "left").await;
    assert_eq!(desk.next("group").await, json!({"group": "g1", "joined": false}));
    alice.say(group("g1"), json!("not for bob")).await;
    let mark = alice.say(json!({"user": "bob"}), json!("mark")).await;
    assert_eq!(desk.next_message().await["id"], mark["id"]);
    assert_eq!(phone.next_message().await["id"], mark["id"]);
}

/// The control message in the user's log comes beside the group's messages, and may come behind them.
#[tokio::test]
async fn what_was_left_on_one_node_is_silent_on_the_users_device_on_another() {
    let cluster = Cluster::start(2, 2).await;
    let mut alice = on(&cluster.gateways[0], "alice").await;
    alice.join("g").await;
    let mut phone = on(&cluster.gateways[0], "bob").await;
    let mut desk = on(&cluster.gateways[1], "bob").await;
    // The routers know of a new connection a moment after it has come.
    eventually("both devices are known", async || {
        let users = json!({"presence": {"users": ["bob"]}});
        on(&cluster.gateways[0], "eve").await.ask(users, "presence").await["users"]["bob"]["connections"] == 2
    })
    .await;
    let mut out = Vec::new();
    for n in 0..40 {
        phone.join("g").await;
        alice.say(json!({"group": "g"}), json!("in")).await;
        phone.ask(json!({"leave": {"group": "g"}}), "left").await;
        out.push(alice.say(json!({"group": "g"}), json!(n)).await["id"].clone());
    }
    alice.say(json!({"user": "bob"}), json!("end")).await;
    for device in [&mut phone, &mut desk] {
        loop {
            let message = device.next_message().await;
            assert!(!out.contains(&message["id"]), "{message}");
            if message["body"] == "end" {
                break;
            }
        }
    }
}

#[tokio::test]
async fn who_has_joined_may_send_at_once_through_any_router() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    let mut phone = on(one, "alice").await;
    let mut desk = on(two, "alice").await;
    for i in 0..200 {
        let id = format!("g{i}");
        let (joining, other) = if i % 2 == 0 {
            (&mut phone, &mut desk)
        } else {
            (&mut desk, &mut phone)
        };
        joining.join(&id).await;
        let by_other = other.command(json!({"send": {"to": group(&id), "body": 1}})).await;
        assert!(by_other.get("sent").is_some(), "round {i}: {by_other}");
        let by_same = joining.command(json!({"send": {"to": group(&id), "body": 2}})).await;
        assert!(by_same.get("sent").is_some(), "round {i}: {by_same}");
    }
}

#[tokio::test]
async fn who_has_left_may_not_send_through_any_router() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    let mut phone = on(one, "alice").await;
    let mut desk = on(two, "alice").await;
    for i in 0..100 {
        phone.join("g1").await;
        phone.ask(json!({"leave": {"group": "g1"}}), "left").await;
        let answer = desk.command(json!({"send": {"to": group("g1"), "body": 1}})).await;
        assert_eq!(answer["error"]["code"], "forbidden", "round {i}: {answer}");
    }
}

#[tokio::test]
async fn a_key_is_known_on_every_node() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    let mut phone = on(one, "alice").await;
    let mut desk = on(two, "alice").await;
    for i in 0..20 {
        let command = json!({"send": {"to": {"user": "bob"}, "body": i, "key": format!("k{i}")}});
        let first = phone.ask(command.clone(), "sent").await;
        let again = desk.ask(command, "sent").await;
        assert_eq!(
            (&first["duplicate"], &again["duplicate"]),
            (&json!(false), &json!(true))
        );
        assert_eq!((&first["id"], &first["offset"]), (&again["id"], &again["offset"]));
    }
}

#[tokio::test]
async fn the_application_reaches_everybody_from_any_gateway() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    let mut bob = on(two, "bob").await;
    bob.join("g1").await;
    for to in [json!({"users": ["alice", "bob"]}), group("g1"), json!({"all": true})] {
        messages(one.admin(), &json!({"to": to, "body": to})).await;
        assert_eq!(bob.next_message().await["body"], to);
    }
}

/// One client of the big group: says its part, then hears everybody's. The ids, as they came, and the client, so that
/// it stays connected.
async fn take_part(mut client: Client, says: usize, hears: usize) -> (Vec<Value>, Client) {
    let mut started = Vec::new();
    for i in 0..says {
        started.push(client.start(json!({"send": {"to": group("big"), "body": i}})).await);
    }
    for id in started {
        let answer = client.answer(id).await;
        assert!(answer.get("sent").is_some(), "{answer}");
    }
    let heard = client.messages(hears).await;
    let ids = heard.into_iter().map(|message| message["id"].clone()).collect();
    (ids, client)
}

#[tokio::test]
async fn two_hundred_members_hear_500_messages_in_one_order_and_nats_carries_each_once_per_gateway() {
    let cluster = Cluster::start(2, 2).await;
    let monitor = Monitor::of(&cluster.nats.url()).await;
    let mut members = Vec::new();
    for i in 0..200 {
        let dialect = Dialect::BOTH[i / 2 % 2];
        let token = token::dev_with(&format!("u{i}"), &json!({"groups": ["big"]}));
        members.push(Client::with_token(cluster.gateways[i % 2].public(), dialect, &token).await);
    }
    let before = monitor.subscriptions(".live.group.big").await;
    assert_eq!(before.len(), 2, "one subscription per gateway: {before:?}");
    let parts: Vec<_> = members
        .into_iter()
        .enumerate()
        .map(|(i, member)| tokio::spawn(take_part(member, if i < 10 { 50 } else { 0 }, 500)))
        .collect();
    let (mut orders, mut members) = (Vec::new(), Vec::new());
    for part in parts {
        let (order, member) = part.await.expect("everybody hears everything");
        orders.push(order);
        members.push(member);
    }
    for order in &orders {
        assert_eq!(order, &orders[0]);
    }
    let mut ids = orders.swap_remove(0);
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 500);
    let after = monitor.subscriptions(".live.group.big").await;
    assert_eq!(after.len(), 2, "{after:?}");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.connection, after.connection);
        assert_eq!(
            after.messages - before.messages,
            500,
            "once per gateway, not once per client"
        );
    }
}

#[tokio::test]
async fn subscriptions_come_with_the_first_local_member_and_go_with_the_last() {
    let cluster = Cluster::start(1, 1).await;
    let monitor = Monitor::of(&cluster.nats.url()).await;
    let of = async |suffix: &str| monitor.subscriptions(suffix).await.len();
    let gateway = &cluster.gateways[0];
    let mut phone = on(gateway, "bob").await;
    let mut desk = on(gateway, "bob").await;
    let mut carol = on(gateway, "carol").await;
    assert_eq!(of(".live.user.bob").await, 1, "one for both connections");
    phone.join("g1").await;
    carol.join("g1").await;
    assert_eq!(of(".live.group.g1").await, 1, "one for both members");
    desk.next("group").await;

    phone.close().await;
    desk.ask(json!({"ping": {}}), "pong").await;
    carol.ask(json!({"leave": {"group": "g1"}}), "left").await;
    carol.say(json!({"user": "bob"}), json!(1)).await;
    desk.next_message().await;
    assert_eq!(of(".live.user.bob").await, 1, "one connection is left");
    assert_eq!(of(".live.group.g1").await, 1, "one member is left");
    desk.close().await;
    eventually("bob's subscriptions are gone", async || {
        of(".live.user.bob").await == 0 && of(".live.group.g1").await == 0
    })
    .await;
    assert_eq!(of(".live.user.carol").await, 1);
}

/// How soon every command must be answered.
const ANSWER: Duration = Duration::from_secs(10);

async fn is_unavailable(client: &mut Client) {
    for command in [
        json!({"send": {"to": {"user": "bob"}, "body": 1}}),
        json!({"send": {"to": {"user": "bob"}, "body": 1, "durable": false}}),
        json!({"join": {"group": "g2"}}),
        json!({"leave": {"group": "g1"}}),
    ] {
        let asked = Instant::now();
        let error = client.ask(command.clone(), "error").await;
        assert!(asked.elapsed() < ANSWER, "{command} took {:?}", asked.elapsed());
        assert_eq!(error["code"], "unavailable", "{command}: {error}");
        assert_eq!(error["retry"], true);
    }
    client.ask(json!({"ping": {}}), "pong").await;
}

/// Waits until a send is answered `sent`; meanwhile only errors that may be tried again.
async fn works_again(client: &mut Client) {
    eventually("a send succeeds", async || {
        let answer = client
            .command(json!({"send": {"to": {"user": "bob"}, "body": "mark"}}))
            .await;
        assert!(
            answer.get("sent").is_some() || answer["error"]["retry"] == true,
            "{answer}"
        );
        answer.get("sent").is_some()
    })
    .await;
}

#[tokio::test]
async fn while_nats_is_away_commands_are_unavailable_and_connections_stay() {
    let mut cluster = Cluster::start(1, 2).await;
    let mut alice = on(&cluster.gateways[0], "alice").await;
    let mut bob = on(&cluster.gateways[1], "bob").await;
    bob.join("g1").await;
    alice.join("g1").await;
    cluster.nats.stop();
    for node in cluster.gateways.iter().chain(&cluster.routers) {
        let admin = node.admin();
        eventually("the node is not ready", async || {
            get(admin, "/health/ready").await.status == 503
        })
        .await;
        assert_eq!(get(admin, "/health/live").await.status, 200);
    }
    is_unavailable(&mut alice).await;

    cluster.nats.start_again().await;
    for node in &mut cluster.gateways {
        node.ready().await;
    }
    works_again(&mut alice).await;
    while bob.next_message().await["body"] != "mark" {}
    let sent = alice.say(group("g1"), json!("group")).await;
    while bob.next_message().await["id"] != sent["id"] {}
    bob.join("g3").await;
    for node in cluster.gateways.iter_mut().chain(&mut cluster.routers) {
        assert!(node.running());
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
}

/// The log begins at 1 again: what connections have seen of the old one must not hide the new one's messages.
#[tokio::test]
async fn a_log_that_was_lost_and_made_anew_is_delivered_to_those_connected() {
    let mut cluster = Cluster::start(1, 2).await;
    let mut alice = on(&cluster.gateways[0], "alice").await;
    let mut bob = on(&cluster.gateways[1], "bob").await;
    for i in 0..30 {
        alice.say(json!({"user": "bob"}), json!(i)).await;
    }
    bob.messages(30).await;
    cluster.nats.stop();
    cluster.nats.lose_store();
    cluster.nats.start_again().await;
    for node in &mut cluster.gateways {
        node.ready().await;
    }
    works_again(&mut alice).await;
    let mut sent = Vec::new();
    for i in 0..5 {
        sent.push(alice.say(json!({"user": "bob"}), json!(i)).await["id"].clone());
    }
    let mut heard = Vec::new();
    while heard.last() != sent.last() {
        heard.push(bob.next_message().await["id"].clone());
    }
    heard.retain(|id| sent.contains(id));
    assert_eq!(heard, sent, "each once, in order");
}

#[tokio::test]
async fn without_a_router_commands_are_unavailable_until_one_comes() {
    let mut cluster = Cluster::start(1, 1).await;
    let mut alice = on(&cluster.gateways[0], "alice").await;
    alice.join("g1").await;
    cluster.routers[0].kill();
    is_unavailable(&mut alice).await;
    cluster.routers[0] = dev_router(&cluster.nats.url()).await;
    works_again(&mut alice).await;
    alice
        .say(group("g1"), json!("membership has outlived the router"))
        .await;
}

#[tokio::test]
async fn nodes_may_start_in_any_order() {
    let mut nats = NatsServer::reserve();
    let url = nats.url();
    let arguments = ["--dev", "--nats", &url, "--listen", FREE, "--admin", FREE];
    let mut gateway = Node::spawn("herald-gateway", arguments);
    gateway.listens("admin").await;
    let mut router = Node::spawn("herald-router", ["--dev", "--nats", &url, "--admin", FREE]);
    router.listens("admin").await;
    nats.start_again().await;
    router.ready().await;
    gateway.ready().await;
    gateway.listens("public").await;
    let mut alice = on(&gateway, "alice").await;
    works_again(&mut alice).await;
}

#[tokio::test]
async fn a_connect_while_nats_is_away_closes_with_4005() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.nats.stop();
    let upgrade = herald_tests::client::Upgrade::to(cluster.gateways[0].public());
    let asked = Instant::now();
    let (mut alice, _) = upgrade
        .query("token", &token::dev("alice"))
        .open()
        .await
        .expect("an upgrade");
    assert_eq!(alice.closed().await, 4005);
    assert!(asked.elapsed() < 2 * ANSWER);
}

#[tokio::test]
async fn clusters_share_a_nats_under_different_prefixes() {
    let cluster = Cluster::start(1, 1).await;
    let nats = format!("[nats]\nurls = [\"{}\"]\nprefix = \"other\"\n", cluster.nats.url());
    let router = herald_tests::gateway::file(&format!("[admin]\nlisten = \"{FREE}\"\n{nats}"));
    let mut other_router = Node::spawn("herald-router", ["--config".as_ref(), router.path().as_os_str()]);
    other_router.ready().await;
    let config = herald_tests::gateway::Config {
        rest: nats,
        ..Default::default()
    };
    let other_gateway = config.start().await;
    let token = token::hs256(herald_tests::gateway::SECRET, &token::claims("bob"));
    let mut other_bob = Client::with_token(other_gateway.public(), Dialect::Json, &token).await;
    let mut bob = on(&cluster.gateways[0], "bob").await;
    messages(
        cluster.gateways[0].admin(),
        &json!({"to": {"user": "bob"}, "body": "first"}),
    )
    .await;
    assert_eq!(bob.next_message().await["body"], "first");
    other_bob.say(json!({"user": "bob"}), json!("second")).await;
    assert_eq!(other_bob.next_message().await["body"], "second", "and not the first");
    assert!(!bob.hears("message", Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_gateway_added_later_takes_its_part() {
    let cluster = Cluster::start(1, 1).await;
    let mut alice = on(&cluster.gateways[0], "alice").await;
    alice.join("g1").await;
    let late = dev_gateway_with(&["--nats", &cluster.nats.url()]).await;
    let mut bob = on(&late, "bob").await;
    let desk = on(&late, "alice").await;
    assert_eq!(desk.connected["groups"], json!(["g1"]));
    bob.join("g1").await;
    let sent = alice.say(group("g1"), json!(1)).await;
    assert_eq!(bob.next_message().await["id"], sent["id"]);
}
