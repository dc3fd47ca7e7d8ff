//! The application kicks a user: connections end everywhere, and tokens issued until then are of no use any more.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::Cluster,
    eventually,
    follower::Follower,
    gateway::{API_KEY, Config, dev_gateway},
    http::{DEV_API_KEY, Response, request},
    token,
};
use serde_json::{Value, json};

/// The sweep finds what no live copy told of, within 7 s, and this machine may be busy.
const SWEPT: Duration = Duration::from_secs(20);

async fn delete(admin: SocketAddr, path: &str, key: &str) -> Response {
    let bearer = format!("Bearer {key}");
    request(admin, "DELETE", path, &[("Authorization", &bearer)], b"").await
}

async fn kick(admin: SocketAddr, user: &str, query: &str) {
    let path = format!("/api/v1/users/{user}/connections{query}");
    let response = delete(admin, &path, DEV_API_KEY).await;
    assert_eq!((response.status, response.json()), (200, json!({})), "{response:?}");
}

/// A development token issued that many seconds from now.
fn issued_in(user: &str, seconds: u64) -> String {
    token::dev_with(user, &json!({"iat": token::now() + seconds}))
}

/// The token is of no use, in the upgrade and in the first frame.
async fn refused(address: SocketAddr, token: &str) {
    let upgrade = Upgrade::to(address).text("token", token);
    let (mut client, _) = upgrade.open().await.unwrap();
    assert_eq!(client.closed().await, 4100);
    let (mut client, _) = Upgrade::to(address).open().await.unwrap();
    let connect = json!({"connect": {"token": token}});
    assert_eq!(client.refused(connect).await, "unauthorized");
    assert_eq!(client.closed().await, 4100);
}

#[tokio::test]
async fn a_kick_ends_all_connections_on_every_node_and_revokes_their_tokens() {
    let mut cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let (old, undated) = (token::dev("bob"), token::dev_with("bob", &json!({"iat": null})));
    let mut phone = Client::with_token(one, Dialect::Json, &old).await;
    let mut desk = Client::with_token(two, Dialect::Proto, &undated).await;
    let mut alice = Client::dev(one, "alice").await;
    kick(cluster.gateways[0].admin(), "bob", "").await;
    assert_eq!(phone.closed().await, 4102);
    assert_eq!(desk.closed().await, 4102);
    // A node that was not there hears of it as well, before it calls itself ready.
    cluster.restart_gateway(1).await;
    cluster.ready().await;
    for address in [one, cluster.gateways[1].public()] {
        refused(address, &old).await;
        refused(address, &undated).await;
        let mut bob = Client::with_token(address, Dialect::Json, &issued_in("bob", 2)).await;
        let refresh = bob.refused(json!({"refresh": {"token": old}})).await;
        assert_eq!(refresh, "unauthorized", "nor does an old token refresh a new one");
        alice.say(json!({"user": "bob"}), json!("welcome back")).await;
        assert_eq!(bob.next_message().await["body"], "welcome back");
    }
}

#[tokio::test]
async fn without_revoking_the_user_may_come_back_and_resume_past_the_kick() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut bob = Follower::dev(gateway.public(), "bob", &[]).await;
    alice.say(json!({"user": "bob"}), json!(1)).await;
    bob.until_heard(&json!(1)).await;
    kick(gateway.admin(), "bob", "?revoke=false").await;
    assert_eq!(bob.client().closed().await, 4102);
    alice.say(json!({"user": "bob"}), json!(2)).await;
    // The cursor is from before the kick, which comes again, and is not meant for this connection.
    bob.cut();
    bob.resume(gateway.public()).await;
    bob.until_heard(&json!(2)).await;
    alice.say(json!({"user": "bob"}), json!(3)).await;
    bob.until_heard(&json!(3)).await;
    assert_eq!(bob.connected["resumed"], true);
}

/// The live copy of the kick is lost on a node that sleeps for too long: its sweep finds it.
#[tokio::test]
async fn a_node_that_slept_through_a_kick_follows_it_when_it_wakes() {
    let cluster = Cluster::start(1, 2).await;
    let mut bob = Client::dev(cluster.gateways[1].public(), "bob").await;
    cluster.gateways[1].signal(rustix::process::Signal::STOP);
    kick(cluster.gateways[0].admin(), "bob", "?revoke=false").await;
    cluster.gateways[1].signal(rustix::process::Signal::CONT);
    let code = tokio::time::timeout(SWEPT, bob.closed()).await;
    assert_eq!(code.expect("the connection ends"), 4102);
}

#[tokio::test]
async fn a_kick_needs_a_key_that_allows_it_and_says_what_is_wrong() {
    let rest = "[[admin.api_keys]]\nname = 'post'\nkey = 'a-key-for-messages-alone'\ncalls = ['messages']\n";
    let config = Config {
        rest: rest.into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let path = "/api/v1/users/bob/connections";
    let status = async |path: &str, key: &str| delete(gateway.admin(), path, key).await.status;
    assert_eq!(status(path, "wrong").await, 401);
    assert_eq!(status(path, "a-key-for-messages-alone").await, 403);
    let key = API_KEY;
    assert_eq!(status(path, key).await, 200, "nobody needs to be there");
    assert_eq!(status(&format!("{path}?revoke=maybe"), key).await, 400);
    assert_eq!(status("/api/v1/users/%01/connections", key).await, 400);
    assert_eq!(status("/api/v1/users//connections", key).await, 400);
    let bearer = format!("Bearer {key}");
    let get = request(gateway.admin(), "GET", path, &[("Authorization", &bearer)], b"").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("DELETE")));
}

/// Ids are percent-encoded in paths; one user's kick is nobody else's.
#[tokio::test]
async fn only_the_named_user_is_kicked() {
    let gateway = dev_gateway().await;
    let mut named = Client::dev(gateway.public(), "a/b 小.*").await;
    let mut other = Client::dev(gateway.public(), "a").await;
    kick(gateway.admin(), "a%2Fb%20%E5%B0%8F.*", "").await;
    assert_eq!(named.closed().await, 4102);
    let pong: Value = other.ask(json!({"ping": {}}), "pong").await;
    assert_eq!(pong, json!({}));
    eventually("the gateway counts it", async || {
        let metrics = herald_tests::http::get(gateway.admin(), "/metrics").await.body;
        metrics.contains("herald_gateway_closes_total{code=\"4102\"} 1")
    })
    .await;
}
