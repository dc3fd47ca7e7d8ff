//! Who may do what without `--dev`: each rule of PROTOCOL.md, with the policy that sets it.

use herald_tests::{
    client::{Client, Dialect},
    gateway::{Config, SECRET},
    process::Node,
    token,
};
use serde_json::{Value, json};

async fn with_policy(policy: &str) -> Node {
    let config = Config {
        router: policy.into(),
        ..Config::default()
    };
    config.start().await
}

async fn client(gateway: &Node, user: &str, claims: Value) -> Client {
    let claims = token::merged(token::claims(user), &claims);
    Client::with_token(gateway.public(), Dialect::Json, &token::hs256(SECRET, &claims)).await
}

fn send_to(to: Value) -> Value {
    json!({"send": {"to": to, "body": 1}})
}

#[tokio::test]
async fn clients_join_only_what_a_pattern_allows() {
    let gateway = with_policy(r#"client_join = ["room-*", "lobby"]"#).await;
    let mut alice = client(&gateway, "alice", json!({})).await;
    for group in ["room-1", "room-", "lobby"] {
        alice.join(group).await;
    }
    for group in ["Room-1", "a-room-1", "lobby2", "room", "*"] {
        let refused = alice.refused(json!({"join": {"group": group}})).await;
        assert_eq!(refused, "forbidden", "{group}");
    }
}

#[tokio::test]
async fn clients_join_nothing_unless_it_is_configured() {
    let gateway = with_policy("").await;
    let mut alice = client(&gateway, "alice", json!({"groups": ["staff"]})).await;
    assert_eq!(alice.refused(json!({"join": {"group": "room-1"}})).await, "forbidden");
    assert_eq!(alice.connected["groups"], json!(["staff"]), "the token may say so");
    alice.ask(send_to(json!({"group": "staff"})), "sent").await;
    alice.ask(json!({"leave": {"group": "staff"}}), "left").await;
}

#[tokio::test]
async fn only_members_send_to_a_group() {
    let gateway = with_policy(r#"client_join = ["*"]"#).await;
    let mut alice = client(&gateway, "alice", json!({})).await;
    let mut mallory = client(&gateway, "mallory", json!({})).await;
    let to = send_to(json!({"group": "g1"}));
    assert_eq!(alice.refused(to.clone()).await, "forbidden");
    alice.join("g1").await;
    alice.ask(to.clone(), "sent").await;
    assert_eq!(mallory.refused(to.clone()).await, "forbidden");
    alice.ask(json!({"leave": {"group": "g1"}}), "left").await;
    assert_eq!(alice.refused(to).await, "forbidden");
}

#[tokio::test]
async fn only_the_claim_lets_one_send_to_all() {
    let gateway = with_policy("").await;
    let mut herald = client(&gateway, "herald", json!({"broadcast": true})).await;
    let mut alice = client(&gateway, "alice", json!({"broadcast": false})).await;
    let mut bob = client(&gateway, "bob", json!({})).await;
    let to = send_to(json!({"all": true}));
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.refused(to.clone()).await, "forbidden");
    }
    herald.ask(to, "sent").await;
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.next_message().await["from"], "herald");
    }
}

#[tokio::test]
async fn one_to_one_follows_the_direct_policy() {
    for (policy, to_friend, to_stranger) in [
        (r#"direct = "all""#, true, true),
        ("", true, true),
        (r#"direct = "groups""#, true, false),
        (r#"direct = "none""#, false, false),
    ] {
        let gateway = with_policy(policy).await;
        let mut alice = client(&gateway, "alice", json!({"groups": ["g1"]})).await;
        let _bob = client(&gateway, "bob", json!({"groups": ["g1"]})).await;
        let _carol = client(&gateway, "carol", json!({"groups": ["g2"]})).await;
        for (user, allowed) in [("bob", to_friend), ("carol", to_stranger)] {
            let answer = alice.command(send_to(json!({"user": user}))).await;
            if allowed {
                assert!(answer.get("sent").is_some(), "{policy}: {answer}");
            } else {
                assert_eq!(answer["error"]["code"], "forbidden", "{policy}: {answer}");
                assert_eq!(answer["error"]["retry"], false);
            }
        }
    }
}

#[tokio::test]
async fn presence_that_is_not_visible_is_left_out_of_sent() {
    for (policy, of_friend, of_stranger) in [
        (r#"visibility = "all""#, true, true),
        ("", true, false),
        (r#"visibility = "groups""#, true, false),
        (r#"visibility = "none""#, false, false),
    ] {
        let gateway = with_policy(policy).await;
        let mut alice = client(&gateway, "alice", json!({"groups": ["g1"]})).await;
        let _bob = client(&gateway, "bob", json!({"groups": ["g1"]})).await;
        let _carol = client(&gateway, "carol", json!({"groups": ["g2"]})).await;
        for (user, visible) in [("bob", of_friend), ("carol", of_stranger)] {
            let sent = alice.ask(send_to(json!({"user": user})), "sent").await;
            let expected = visible.then_some(json!(true));
            assert_eq!(sent.get("online"), expected.as_ref(), "{policy}: {user}");
        }
    }
}

#[tokio::test]
async fn a_user_joins_no_more_groups_than_allowed() {
    let gateway = with_policy("client_join = [\"*\"]\ngroups_per_user = 2").await;
    let mut alice = client(&gateway, "alice", json!({})).await;
    alice.join("g1").await;
    alice.join("g2").await;
    alice.join("g2").await;
    let answer = alice.command(json!({"join": {"group": "g3"}})).await;
    assert_eq!(answer["error"]["retry"], false, "{answer}");
    alice.ask(json!({"leave": {"group": "g1"}}), "left").await;
    alice.join("g3").await;
}
