//! The main job with nothing but `herald-gateway --dev`: what one client sends, the others get.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    eventually,
    gateway::dev_gateway,
    token,
};
use serde_json::{Value, json};

/// Long enough for what would have come at once.
const MOMENT: Duration = Duration::from_millis(300);

fn user(id: &str) -> Value {
    json!({"user": id})
}

fn group(id: &str) -> Value {
    json!({"group": id})
}

/// `from` says `body` to `to`, whose name is `name`; the push must tell what the answer told.
async fn told(from: &mut Client, sender: &str, to: &mut Client, name: &str, body: Value) {
    let command = json!({"send": {"to": user(name), "body": body, "kind": "chat"}});
    let sent = from.ask(command, "sent").await;
    let message = to.next_message().await;
    assert_eq!(sent["online"], true);
    assert_eq!(sent["duplicate"], false);
    let expected = json!({"id": sent["id"], "from": sender, "to": user(name), "kind": "chat", "body": body,
        "time": sent["time"], "offset": sent["offset"]});
    assert_eq!(message, expected);
}

#[tokio::test]
async fn alice_and_bob_talk_in_every_pair_of_dialects() {
    let gateway = dev_gateway().await;
    for (ours, theirs) in [
        (Dialect::Json, Dialect::Json),
        (Dialect::Proto, Dialect::Proto),
        (Dialect::Json, Dialect::Proto),
    ] {
        let mut alice = Client::with_token(gateway.public(), ours, &token::dev("alice")).await;
        let mut bob = Client::with_token(gateway.public(), theirs, &token::dev("bob")).await;
        told(&mut alice, "alice", &mut bob, "bob", json!({"text": "hello, 小明"})).await;
        told(&mut bob, "bob", &mut alice, "alice", json!(["and", "back"])).await;
    }
}

#[tokio::test]
async fn connected_tells_who_and_where_one_is() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let token = token::dev_with("alice", &json!({"groups": ["g2", "g1"]}));
        let alice = Client::with_token(gateway.public(), dialect, &token).await;
        let connected = &alice.connected;
        assert_eq!(connected["user"], "alice");
        assert_eq!(connected["resumed"], false);
        assert_eq!(connected["gap"], false);
        assert_eq!(connected["ping"], 25);
        for name in ["connection", "node"] {
            assert!(connected[name].as_str().is_some_and(|id| !id.is_empty()), "{connected}");
        }
        let mut groups: Vec<&str> = connected["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|g| g.as_str().unwrap())
            .collect();
        groups.sort_unstable();
        assert_eq!(groups, ["g1", "g2"]);
        let seconds = token::now();
        let expires = connected["expires"].as_u64().unwrap();
        assert!((seconds + 3_500..=seconds + 3_600).contains(&expires), "{connected}");
        let time = connected["time"].as_u64().unwrap() / 1000;
        assert!(time.abs_diff(seconds) < 60, "{connected}");
    }
}

#[tokio::test]
async fn a_body_is_any_json_value() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1.5e300),
        json!(u64::MAX),
        json!(""),
        json!("quote \" backslash \\ newline \n nul \0 snowman ☃ clef 𝄞"),
        json!([]),
        json!({}),
        json!({"": {"to": [1, [2, [3]]], "id": 7, "error": null}}),
    ];
    for value in values {
        alice.say(user("bob"), value.clone()).await;
        let message = bob.next_message().await;
        assert_eq!(message.get("body"), Some(&value));
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_reaches_json_clients_in_base64() {
    let gateway = dev_gateway().await;
    let mut alice = Client::with_token(gateway.public(), Dialect::Proto, &token::dev("alice")).await;
    let mut json_bob = Client::dev(gateway.public(), "bob").await;
    let mut proto_bob = Client::with_token(gateway.public(), Dialect::Proto, &token::dev("bob")).await;
    let body = "AAH/gHQi"; // 00 01 ff 80 't' '"'
    let send = json!({"to": user("bob"), "body_base64": body, "content_type": "application/octet-stream"});
    alice.ask(json!({"send": send}), "sent").await;

    let message = json_bob.next_message().await;
    assert_eq!(message["body_base64"], body);
    assert_eq!(message.get("body"), None);
    let message = proto_bob.next_message().await;
    assert_eq!(message["body_base64"], body);
    assert_eq!(message["content_type"], "application/octet-stream");
}

#[tokio::test]
async fn message_ids_are_uuids_of_version_7_and_times_are_now() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut last = String::new();
    for _ in 0..20 {
        let sent = alice.say(user("bob"), json!("hi")).await;
        let id = sent["id"].as_str().unwrap().to_owned();
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "7", "{id}");
        assert_ne!(id, last);
        assert!(
            (sent["time"].as_u64().unwrap() / 1000).abs_diff(token::now()) < 60,
            "{sent}"
        );
        last = id;
    }
}

#[tokio::test]
async fn a_group_of_three_hears_each_other() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut members = Vec::new();
        for name in ["alice", "bob", "carol"] {
            let mut member = Client::with_token(gateway.public(), dialect, &token::dev(name)).await;
            member.join("g1").await;
            members.push(member);
        }
        let mut stranger = Client::with_token(gateway.public(), dialect, &token::dev("mallory")).await;
        let mut expected = Vec::new();
        for member in &mut members {
            let sent = member.say(group("g1"), json!({"by": member.connected["user"]})).await;
            assert_eq!(sent["online"], true);
            expected.push((sent["id"].clone(), sent["offset"].clone()));
        }
        for member in &mut members {
            let heard: Vec<_> = member.messages(3).await;
            let heard: Vec<_> = heard.iter().map(|m| (m["id"].clone(), m["offset"].clone())).collect();
            assert_eq!(heard, expected, "the sender's own connections too, in the one order");
        }
        assert!(!stranger.hears("message", MOMENT).await);
    }
}

#[tokio::test]
async fn who_left_a_group_hears_it_no_more() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    alice.join("g1").await;
    bob.join("g1").await;
    alice.say(group("g1"), json!(1)).await;
    assert_eq!(bob.next_message().await["body"], 1);

    let left = bob.ask(json!({"leave": {"group": "g1"}}), "left").await;
    assert_eq!(left["group"], "g1");
    let sent = alice.say(group("g1"), json!(2)).await;
    assert_eq!(sent["online"], false, "no other member is online");
    alice.say(user("bob"), json!("mark")).await;
    assert_eq!(bob.next_message().await["body"], "mark");
    assert!(!bob.hears("message", MOMENT).await);
    assert_eq!(
        bob.refused(json!({"send": {"to": group("g1"), "body": 3}})).await,
        "forbidden"
    );
}

#[tokio::test]
async fn membership_stays_until_one_leaves() {
    let gateway = dev_gateway().await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    bob.join("g1").await;
    bob.close().await;
    let bob = Client::dev(gateway.public(), "bob").await;
    assert_eq!(bob.connected["groups"], json!(["g1"]));
}

#[tokio::test]
async fn every_connection_of_a_user_learns_of_joining_and_leaving() {
    let gateway = dev_gateway().await;
    let mut phone = Client::dev(gateway.public(), "bob").await;
    let mut desk = Client::with_token(gateway.public(), Dialect::Proto, &token::dev("bob")).await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    alice.join("g1").await;
    phone.join("g1").await;
    assert_eq!(desk.next("group").await, json!({"group": "g1", "joined": true}));
    alice.say(group("g1"), json!("both")).await;
    assert_eq!(phone.next_message().await["body"], "both");
    assert_eq!(desk.next_message().await["body"], "both");
    phone.ask(json!({"leave": {"group": "g1"}}), "left").await;
    assert_eq!(desk.next("group").await, json!({"group": "g1", "joined": false}));
}

#[tokio::test]
async fn a_broadcast_needs_the_claim_and_reaches_everybody() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let token = token::dev_with("alice", &json!({"broadcast": true}));
        let mut alice = Client::with_token(gateway.public(), dialect, &token).await;
        let mut bob = Client::with_token(gateway.public(), Dialect::Json, &token::dev("bob")).await;
        let mut carol = Client::with_token(gateway.public(), Dialect::Proto, &token::dev("carol")).await;
        let to = json!({"all": true});
        let refused = bob.refused(json!({"send": {"to": to, "body": "psst"}})).await;
        assert_eq!(refused, "forbidden");
        let sent = alice.say(to.clone(), json!("hear, hear")).await;
        for client in [&mut alice, &mut bob, &mut carol] {
            let message = client.next_message().await;
            assert_eq!(message["body"], "hear, hear");
            assert_eq!(message["to"], to);
            assert_eq!(message["id"], sent["id"]);
        }
    }
}

#[tokio::test]
async fn both_devices_of_bob_get_the_message() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut phone = Client::dev(gateway.public(), "bob").await;
    let mut desk = Client::with_token(gateway.public(), Dialect::Proto, &token::dev("bob")).await;
    let sent = alice.say(user("bob"), json!("x")).await;
    assert_eq!(phone.next_message().await["id"], sent["id"]);
    assert_eq!(desk.next_message().await["id"], sent["id"]);
    phone.close().await;
    alice.say(user("bob"), json!("y")).await;
    assert_eq!(desk.next_message().await["body"], "y");
}

#[tokio::test]
async fn one_who_is_not_there_is_not_online() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    assert_eq!(alice.say(user("bob"), json!("x")).await["online"], false);
    let bob = Client::dev(gateway.public(), "bob").await;
    assert_eq!(alice.say(user("bob"), json!("x")).await["online"], true);
    bob.close().await;
    eventually("bob is offline", async || {
        alice.say(user("bob"), json!("x")).await["online"] == false
    })
    .await;
    alice.join("g1").await;
    let sent = alice.say(group("g1"), json!("alone")).await;
    assert_eq!(sent["online"], false, "the sender is no other member");
}

#[tokio::test]
async fn all_connections_of_the_sender_get_its_group_messages() {
    let gateway = dev_gateway().await;
    let mut phone = Client::dev(gateway.public(), "alice").await;
    phone.join("g1").await;
    let mut desk = Client::dev(gateway.public(), "alice").await;
    assert_eq!(desk.connected["groups"], json!(["g1"]));
    let mut ids = Vec::new();
    for i in 0..5 {
        let speaker = if i % 2 == 0 { &mut phone } else { &mut desk };
        ids.push(speaker.say(group("g1"), json!(i)).await["id"].clone());
    }
    for client in [&mut phone, &mut desk] {
        let heard: Vec<_> = client.messages(5).await.iter().map(|m| m["id"].clone()).collect();
        assert_eq!(heard, ids);
    }
}

#[tokio::test]
async fn a_copy_reaches_the_senders_other_devices_and_only_when_asked() {
    let gateway = dev_gateway().await;
    let mut phone = Client::dev(gateway.public(), "alice").await;
    let mut desk = Client::dev(gateway.public(), "alice").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    phone.say(user("bob"), json!("plain")).await;
    let sent = phone
        .ask(
            json!({"send": {"to": user("bob"), "body": "copied", "copy": true}}),
            "sent",
        )
        .await;
    let copy = desk.next_message().await;
    assert_eq!(copy["body"], "copied", "and not the one before");
    assert_eq!(copy["id"], sent["id"]);
    assert_eq!(copy["from"], "alice");
    assert_eq!(copy["to"], user("bob"));
    assert_eq!(bob.messages(2).await[1]["id"], sent["id"]);
}

#[tokio::test]
async fn ephemeral_messages_arrive_and_have_no_offset() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let token = token::dev_with("alice", &json!({"broadcast": true}));
        let mut alice = Client::with_token(gateway.public(), dialect, &token).await;
        let mut bob = Client::with_token(gateway.public(), dialect, &token::dev("bob")).await;
        alice.join("g1").await;
        bob.join("g1").await;
        for to in [user("bob"), group("g1"), json!({"all": true})] {
            let send = json!({"to": to, "body": "typing", "durable": false, "kind": "typing"});
            let sent = alice.ask(json!({"send": send}), "sent").await;
            assert_eq!(sent.get("offset"), None, "{sent}");
            assert_eq!(sent["online"], true);
            let message = bob.next_message().await;
            assert_eq!(message.get("offset"), None, "{message}");
            assert_eq!(message["id"], sent["id"]);
            assert_eq!(message["kind"], "typing");
        }
    }
}

#[tokio::test]
async fn messages_of_one_sender_arrive_in_the_order_of_sending() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let mut ids = Vec::new();
    for i in 0..300 {
        // Nothing waits for an answer: the connection alone keeps the order.
        ids.push(alice.start(json!({"send": {"to": user("bob"), "body": i}})).await);
    }
    let heard = bob.messages(300).await;
    let bodies: Vec<_> = heard.iter().map(|m| m["body"].as_u64().unwrap()).collect();
    assert_eq!(bodies, (0..300).collect::<Vec<_>>());
    let sequences: Vec<_> = heard.iter().map(sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    for (id, message) in ids.into_iter().zip(&heard) {
        let answer = alice.frame().await;
        assert_eq!(answer["id"], id, "answers keep the order too");
        assert_eq!(answer["sent"]["id"], message["id"]);
    }
}

/// The number in a message's offset.
fn sequence(message: &Value) -> u64 {
    let offset = message["offset"].as_str().expect("an offset");
    let (log, sequence) = offset.split_once(':').expect("<log>:<sequence>");
    assert!(!log.is_empty());
    sequence.parse().expect("a number")
}

#[tokio::test]
async fn all_recipients_see_one_order_of_several_senders() {
    let gateway = dev_gateway().await;
    let mut members = Vec::new();
    for i in 0..6 {
        let mut member = Client::dev(gateway.public(), &format!("u{i}")).await;
        member.join("g1").await;
        members.push(member);
    }
    for i in 0..30 {
        for member in &mut members {
            member.send(&json!({"send": {"to": group("g1"), "body": i}})).await;
        }
    }
    let mut orders = Vec::new();
    for member in &mut members {
        let heard = member.messages(180).await;
        orders.push(heard.into_iter().map(|m| m["id"].clone()).collect::<Vec<_>>());
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[tokio::test]
async fn a_key_makes_two_sends_one_message_per_target_and_sender() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let mut carol = Client::dev(gateway.public(), "carol").await;
    let to_bob = json!({"send": {"to": user("bob"), "body": 1, "key": "k-1"}});
    let first = alice.ask(to_bob.clone(), "sent").await;
    let again = alice.ask(to_bob.clone(), "sent").await;
    assert_eq!(first["duplicate"], false);
    assert_eq!(again["duplicate"], true);
    for name in ["id", "offset"] {
        assert_eq!(again[name], first[name], "{name} of the first");
    }
    // From another connection of hers it is the same key; of another sender, or for another target, it is not.
    let mut desk = Client::dev(gateway.public(), "alice").await;
    assert_eq!(desk.ask(to_bob.clone(), "sent").await["duplicate"], true);
    assert_eq!(carol.ask(to_bob, "sent").await["duplicate"], false);
    let to_carol = json!({"send": {"to": user("carol"), "body": 1, "key": "k-1"}});
    assert_eq!(alice.ask(to_carol, "sent").await["duplicate"], false);

    alice.say(user("bob"), json!("mark")).await;
    let heard: Vec<_> = bob
        .messages(3)
        .await
        .iter()
        .map(|m| (m["from"].clone(), m["body"].clone()))
        .collect();
    assert_eq!(
        heard,
        [
            (json!("alice"), json!(1)),
            (json!("carol"), json!(1)),
            (json!("alice"), json!("mark"))
        ]
    );
}

#[tokio::test]
async fn one_may_write_to_oneself() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let sent = alice.say(user("alice"), json!("note")).await;
    assert_eq!(alice.next_message().await["id"], sent["id"]);
}

#[tokio::test]
async fn ids_may_hold_anything_but_control_characters() {
    let gateway = dev_gateway().await;
    for (a, b, g) in [
        ("a.b", "*", "g.>"),
        ("a b", ">", "$SYS"),
        ("小明", "élan", "組 1"),
        ("a/b?c#d", "\"quoted\\", "%41"),
    ] {
        let mut alice = Client::dev(gateway.public(), a).await;
        let mut bob = Client::with_token(gateway.public(), Dialect::Proto, &token::dev(b)).await;
        assert_eq!(bob.connected["user"], b);
        told(&mut alice, a, &mut bob, b, json!("direct")).await;
        alice.join(g).await;
        bob.join(g).await;
        bob.say(group(g), json!("grouped")).await;
        let message = alice.next_message().await;
        assert_eq!((&message["from"], &message["to"]), (&json!(b), &group(g)));
        bob.next_message().await;
    }
}

#[tokio::test]
async fn a_command_without_an_id_is_done_and_not_answered() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        let mut bob = Client::with_token(gateway.public(), dialect, &token::dev("bob")).await;
        alice.send(&json!({"send": {"to": user("bob"), "body": 1}})).await;
        alice.send(&json!({"join": {"group": "g1"}})).await;
        let said = alice.start(json!({"send": {"to": user("bob"), "body": 2}})).await;
        assert_eq!(bob.messages(2).await[1]["body"], 2);
        loop {
            let frame = alice.frame().await;
            assert!(frame.get("sent").is_none() || frame["id"] == said, "{frame}");
            assert!(frame.get("joined").is_none(), "{frame}");
            if frame["id"] == said {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_connect_frame_connects_as_a_token_in_the_upgrade_does() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let upgrade = Upgrade::to(gateway.public()).dialect(dialect);
        let (mut alice, chosen) = upgrade.open().await.expect("an upgrade");
        assert_eq!(chosen.as_deref(), Some(dialect.subprotocol()));
        let connect = json!({"connect": {"token": token::dev("alice"), "device": "phone"}});
        let connected = alice.ask(connect, "connected").await;
        assert_eq!(connected["user"], "alice");
        let sent = alice.say(user("alice"), json!(1)).await;
        assert_eq!(alice.next_message().await["id"], sent["id"]);
    }
}
