//! Who is online: asked for, watched, and told once.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::Cluster,
    gateway::{API_KEY, Config, SECRET, dev_gateway},
    http::{DEV_API_KEY, post, request},
    process::Node,
    token,
};
use serde_json::{Value, json};

/// Longer than the grace, by as much as a busy machine may need to say nothing.
const QUIET: Duration = Duration::from_secs(4);

async fn device(address: SocketAddr, user: &str, device: &str) -> Client {
    let upgrade = Upgrade::to(address).text("token", &token::dev(user));
    upgrade.query("device", device).connect().await
}

async fn presence(client: &mut Client, users: &[&str]) -> Value {
    let answer = client.ask(json!({"presence": {"users": users}}), "presence").await;
    answer["users"].clone()
}

async fn watch(client: &mut Client, users: &[&str]) -> Value {
    let answer = client.ask(json!({"watch": {"users": users}}), "watching").await;
    answer["users"].clone()
}

/// The next change that the client is told of: who, and whether online.
async fn change(client: &mut Client) -> (String, bool) {
    let push = client.next("presence").await;
    assert!(push["since"].as_u64().unwrap() > 0, "{push}");
    (push["user"].as_str().unwrap().to_owned(), push["online"] == true)
}

fn online(user: &str) -> (String, bool) {
    (user.to_owned(), true)
}

fn offline(user: &str) -> (String, bool) {
    (user.to_owned(), false)
}

#[tokio::test]
async fn a_watcher_is_told_of_each_change_once_in_both_dialects() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        let states = watch(&mut alice, &["bob", "alice"]).await;
        assert_eq!(
            (&states["bob"]["online"], &states["alice"]["online"]),
            (&json!(false), &json!(true))
        );
        let bob = Client::dev(gateway.public(), "bob").await;
        assert_eq!(change(&mut alice).await, online("bob"));
        let second = Client::dev(gateway.public(), "bob").await;
        bob.close().await;
        assert!(!alice.hears("presence", QUIET).await, "he is still here");
        second.close().await;
        assert_eq!(change(&mut alice).await, offline("bob"));
        let gone = presence(&mut alice, &["bob"]).await;
        assert_eq!(gone["bob"]["online"], false);
        assert!(gone["bob"]["last_seen"].as_u64().unwrap() > 0, "{gone}");
        alice.ask(json!({"unwatch": {"users": ["bob"]}}), "watching").await;
        let bob = Client::dev(gateway.public(), "bob").await;
        assert!(!alice.hears("presence", QUIET / 4).await, "not watched any more");
        bob.close().await;
        alice.close().await;
    }
}

#[tokio::test]
async fn devices_are_counted_over_all_nodes_and_a_change_of_node_is_no_flap() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Client::dev(one, "alice").await;
    let phone = device(one, "bob", "phone").await;
    let desk = device(two, "bob", "desk").await;
    herald_tests::eventually("two connections", async || {
        let path = "/api/v1/users/bob";
        let bearer = format!("Bearer {DEV_API_KEY}");
        let user = request(
            cluster.gateways[0].admin(),
            "GET",
            path,
            &[("Authorization", &bearer)],
            b"",
        )
        .await;
        let user = user.json();
        let mut devices: Vec<&str> = user["connections"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|c| c["device"].as_str())
            .collect();
        devices.sort_unstable();
        devices == ["desk", "phone"] && user["online"] == true
    })
    .await;
    let both = presence(&mut alice, &["bob"]).await;
    assert_eq!(both["bob"]["connections"], 2, "{both}");
    watch(&mut alice, &["bob"]).await;
    desk.close().await;
    phone.close().await;
    let _phone = device(two, "bob", "phone").await;
    assert!(!alice.hears("presence", QUIET).await, "he only went to another node");
}

#[tokio::test]
async fn a_groups_members_are_counted_and_those_online_are_named() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    alice.join("g").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    bob.join("g").await;
    bob.close().await;
    herald_tests::eventually("bob is offline", async || {
        presence(&mut Client::dev(gateway.public(), "eve").await, &["bob"]).await["bob"]["online"] == false
    })
    .await;
    let group = alice.ask(json!({"presence": {"group": "g"}}), "presence").await;
    assert_eq!((&group["online"], &group["members"]), (&json!(1), &json!(2)), "{group}");
    assert_eq!(
        group["users"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["alice"]
    );
}

async fn with(gateway: &Node, user: &str, groups: &[&str]) -> Client {
    let claims = token::merged(token::claims(user), &json!({"groups": groups}));
    Client::with_token(gateway.public(), Dialect::Json, &token::hs256(SECRET, &claims)).await
}

#[tokio::test]
async fn who_is_not_visible_is_left_out() {
    for (visibility, seen) in [
        ("all", vec!["bob", "eve", "mia"]),
        ("groups", vec!["bob", "mia"]),
        ("none", vec!["mia"]),
    ] {
        let config = Config {
            router: format!("visibility = \"{visibility}\""),
            ..Config::default()
        };
        let gateway = config.start().await;
        let mut mia = with(&gateway, "mia", &["g"]).await;
        let _bob = with(&gateway, "bob", &["g"]).await;
        let _eve = with(&gateway, "eve", &["h"]).await;
        for answer in [
            presence(&mut mia, &["bob", "eve", "mia"]).await,
            watch(&mut mia, &["bob", "eve", "mia"]).await,
        ] {
            let mut users: Vec<&String> = answer.as_object().unwrap().keys().collect();
            users.sort();
            assert_eq!(users, seen, "{visibility}");
        }
        let refused = mia.command(json!({"presence": {"group": "h"}})).await;
        assert_eq!(
            refused["error"]["code"] == "forbidden",
            visibility != "all",
            "{refused}"
        );
        // The application sees everybody.
        let all = post(
            gateway.admin(),
            "/api/v1/presence",
            API_KEY,
            &json!({"users": ["bob", "eve", "mia"]}),
        )
        .await;
        assert_eq!(all.json()["users"].as_object().unwrap().len(), 3, "{all:?}");
    }
}

#[tokio::test]
async fn who_has_left_the_shared_group_is_told_nothing_any_more() {
    let config = Config {
        router: r#"visibility = "groups""#.into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let mut mia = with(&gateway, "mia", &["g", "h"]).await;
    let bob = with(&gateway, "bob", &["g"]).await;
    let eve = with(&gateway, "eve", &["h"]).await;
    watch(&mut mia, &["bob", "eve"]).await;
    mia.ask(json!({"leave": {"group": "g"}}), "left").await;
    bob.close().await;
    eve.close().await;
    assert_eq!(change(&mut mia).await, offline("eve"));
    assert!(!mia.hears("presence", QUIET).await, "bob is a stranger now");
}

#[tokio::test]
async fn a_connection_watches_only_so_many() {
    let config = Config {
        limits: "watches_per_connection = 2".into(),
        router: r#"visibility = "all""#.into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let mut mia = with(&gateway, "mia", &[]).await;
    watch(&mut mia, &["a", "b"]).await;
    watch(&mut mia, &["b"]).await;
    assert_eq!(mia.refused(json!({"watch": {"users": ["c"]}})).await, "forbidden");
    mia.ask(json!({"unwatch": {"users": ["a"]}}), "watching").await;
    watch(&mut mia, &["c"]).await;
    let _c = with(&gateway, "c", &[]).await;
    assert_eq!(change(&mut mia).await, online("c"));
}

#[tokio::test]
async fn the_last_word_on_a_user_wins_though_nobody_waits_for_answers() {
    let gateway = dev_gateway().await;
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        for verb in ["watch", "unwatch", "watch", "unwatch"] {
            alice.send(&json!({verb: {"users": ["bob"]}})).await;
        }
        for verb in ["unwatch", "watch"] {
            alice.send(&json!({verb: {"users": ["eve"]}})).await;
        }
        // Answered behind all these.
        watch(&mut alice, &["mia"]).await;
        let bob = Client::dev(gateway.public(), "bob").await;
        let eve = Client::dev(gateway.public(), "eve").await;
        assert_eq!(change(&mut alice).await, online("eve"));
        assert!(!alice.hears("presence", QUIET / 4).await, "bob is not watched");
        bob.close().await;
        eve.close().await;
        assert_eq!(change(&mut alice).await, offline("eve"));
        alice.close().await;
    }
}

#[tokio::test]
async fn questions_that_cannot_be_are_refused() {
    let gateway = dev_gateway().await;
    let many: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
    for dialect in Dialect::BOTH {
        let mut alice = Client::with_token(gateway.public(), dialect, &token::dev("alice")).await;
        for users in [json!([]), json!(many), json!(["a\u{1}"]), json!([""])] {
            for verb in ["presence", "watch", "unwatch"] {
                let refused = alice.refused(json!({verb: {"users": users}})).await;
                assert_eq!(refused, "bad_request", "{verb} {users}");
            }
        }
    }
    let body = json!({"users": many});
    let refused = post(gateway.admin(), "/api/v1/presence", DEV_API_KEY, &body).await;
    assert_eq!(refused.status, 400, "{refused:?}");
}
