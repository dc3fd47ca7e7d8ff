//! Sessions over a cluster: one logs in on one node, sends on another, refreshes on a third; and what ends a session ends
//! it everywhere.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    client::{Client, Dialect, Upgrade},
    cluster::Cluster,
    eventually,
    gateway::{dev_gateway, dev_gateway_with, file},
    http::{DEV_API_KEY, Response, get, request},
    process::Node,
    short::{self, REQ_MY_DATA, logged_in, login, logout, message, post, refresh, refreshed},
    token,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

async fn api(admin: SocketAddr, method: &str, path: &str) -> Response {
    let bearer = format!("Bearer {DEV_API_KEY}");
    request(admin, method, path, &[("Authorization", &bearer)], b"").await
}

async fn user(gateway: &Node, name: &str) -> Value {
    api(gateway.admin(), "GET", &format!("/api/v1/users/{name}"))
        .await
        .json()
}

async fn configured(text: &str) -> Node {
    let file = file(text);
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    gateway
}

/// Within a second, everywhere.
async fn refused_everywhere(addresses: &[SocketAddr], token: &str) {
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    for address in addresses {
        let response = message(*address, token, REQ_MY_DATA, b"").await;
        let again = "Invalid token. The client needs to login again";
        assert_eq!((response.status, response.body.as_str()), (401, again));
        assert_eq!(refresh(*address, token).await.status, 401);
        for (path, body) in [("/command", "{\"ping\":{}}"), ("/poll", "{\"wait\":0}")] {
            assert_eq!(post(*address, path, token, body.as_bytes()).await.status, 401, "{path}");
        }
        let (mut client, _) = Upgrade::to(*address).text("token", token).open().await.unwrap();
        assert_eq!(client.closed().await, 4100);
    }
}

#[tokio::test]
async fn every_node_knows_every_session() {
    let cluster = Cluster::start(2, 3).await;
    let [one, two, three] = cluster.addresses()[..] else {
        unreachable!()
    };
    let first = logged_in(one, "zbj").await;
    assert_eq!(message(two, &first, REQ_MY_DATA, b"a").await.status, 200);
    let second = refreshed(three, &first).await;
    for address in [one, two, three] {
        assert_eq!(message(address, &second, REQ_MY_DATA, b"b").await.status, 200);
    }
    assert_eq!(logout(two, &second).await.status, 200);
    refused_everywhere(&[one, two, three], &second).await;
}

/// Each node has just seen that the session stands: it must not believe that for longer than a second.
#[tokio::test]
async fn a_kick_ends_sessions_and_their_connections_on_every_node() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let token = logged_in(one, "zbj").await;
    let mut client = Client::with_token(two, Dialect::Json, &token).await;
    for address in [one, two] {
        assert_eq!(message(address, &token, REQ_MY_DATA, b"").await.status, 200);
    }
    let kicked = api(cluster.gateways[0].admin(), "DELETE", "/api/v1/users/zbj/connections").await;
    assert_eq!(kicked.status, 200, "{kicked:?}");
    assert_eq!(client.closed().await, 4102);
    refused_everywhere(&[one, two], &token).await;
    eventually("the user is offline", async || {
        user(&cluster.gateways[1], "zbj").await["online"] == false
    })
    .await;
    assert_eq!(user(&cluster.gateways[1], "zbj").await["sessions"], json!([]));
    let again = logged_in(one, "zbj").await;
    let answer = message(two, &again, REQ_MY_DATA, b"").await;
    assert_eq!(answer.status, 200, "one may log in again at once: {answer:?}");
}

#[tokio::test]
async fn one_session_can_be_kicked_alone() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let (phone, desk) = (logged_in(one, "zbj").await, logged_in(two, "zbj").await);
    let mut on_phone = Client::with_token(two, Dialect::Json, &phone).await;
    let mut on_desk = Client::with_token(two, Dialect::Json, &desk).await;
    let sessions = user(&cluster.gateways[0], "zbj").await["sessions"].clone();
    let sessions = sessions.as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(
        (&sessions[0]["account"], &sessions[0]["address"]),
        (&json!("zbj"), &json!("127.0.0.1"))
    );
    let id = sessions[0]["session"].as_str().unwrap();
    let path = format!("/api/v1/users/zbj/connections?session={id}");
    assert_eq!(api(cluster.gateways[0].admin(), "DELETE", &path).await.status, 200);
    assert_eq!(on_phone.closed().await, 4102);
    refused_everywhere(&[one, two], &phone).await;
    assert_eq!(message(one, &desk, REQ_MY_DATA, b"").await.status, 200);
    on_desk.ask(json!({"ping": {}}), "pong").await;
}

#[tokio::test]
async fn logging_out_ends_the_connections_of_that_session_alone() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let (phone, desk) = (logged_in(one, "zbj").await, logged_in(one, "zbj").await);
    let mut on_phone = Client::with_token(two, Dialect::Proto, &phone).await;
    let mut on_desk = Client::with_token(two, Dialect::Json, &desk).await;
    let mut applications = Client::dev(two, "zbj").await;
    assert_eq!(logout(one, &phone).await.status, 200);
    assert_eq!(on_phone.closed().await, 4100);
    for client in [&mut on_desk, &mut applications] {
        client.ask(json!({"ping": {}}), "pong").await;
    }
}

/// A browser page cannot read the cookie, and need not.
#[tokio::test]
async fn a_browser_logs_out_by_its_cookie() {
    let gateway = dev_gateway().await;
    let token = logged_in(gateway.public(), "zbj").await;
    let cookie = format!("a=b; token={token}");
    let out = request(gateway.public(), "POST", "/logout", &[("Cookie", &cookie)], b"").await;
    assert_eq!(out.status, 200, "{out:?}");
    assert_eq!(message(gateway.public(), &token, REQ_MY_DATA, b"").await.status, 401);
}

#[tokio::test]
async fn the_newest_login_wins_where_that_is_the_rule() {
    let gateway = configured("[session]\nrelogin = 'newest'\n").await;
    let address = gateway.public();
    let first = logged_in(address, "zbj").await;
    let other = logged_in(address, "swk").await;
    let mut client = Client::with_token(address, Dialect::Json, &first).await;
    let second = logged_in(address, "zbj").await;
    assert_eq!(client.closed().await, 4102);
    assert_eq!(message(address, &first, REQ_MY_DATA, b"").await.status, 401);
    for good in [&second, &other] {
        assert_eq!(message(address, good, REQ_MY_DATA, b"").await.status, 200);
    }
}

/// On the same connection, with the token that an HTTP refresh gave.
#[tokio::test]
async fn a_connection_ends_with_its_token_unless_it_is_refreshed() {
    let gateway = configured("[session]\ntoken_ttl = '3s'\n").await;
    let address = gateway.public();
    let token = logged_in(address, "zbj").await;
    let mut left = Client::with_token(address, Dialect::Json, &token).await;
    let mut kept = Client::with_token(address, Dialect::Json, &token).await;
    let mut fresh = refreshed(address, &token).await;
    let renewed = async {
        for _ in 0..4 {
            fresh = refreshed(address, &fresh).await;
            kept.ask(json!({"refresh": {"token": fresh}}), "refreshed").await;
            sleep_until(Instant::now() + Duration::from_secs(1)).await;
        }
    };
    let (code, ()) = tokio::join!(left.closed(), renewed);
    assert_eq!(code, 4002);
    kept.ask(json!({"ping": {}}), "pong").await;
    logout(address, &fresh).await;
    let refused = kept.closed().await;
    assert_eq!(refused, 4100, "it lives by the session of the newer token");
}

#[tokio::test]
async fn one_who_only_posts_is_online_while_the_session_lives() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Client::dev(two, "alice").await;
    let watch = json!({"watch": {"users": ["zbj"]}});
    let watching = alice.ask(watch, "watching").await;
    assert_eq!(watching["users"]["zbj"]["online"], false);
    let token = logged_in(one, "zbj").await;
    let push = alice.next("presence").await;
    assert_eq!((&push["user"], &push["online"]), (&json!("zbj"), &json!(true)));
    // Whichever router answers may be a moment behind the node that pushed.
    eventually("the routers know it", async || {
        let presence = alice.ask(json!({"presence": {"users": ["zbj"]}}), "presence").await;
        let zbj = &presence["users"]["zbj"];
        (&zbj["online"], &zbj["connections"]) == (&json!(true), &json!(0))
    })
    .await;
    let sent = alice.say(json!({"user": "zbj"}), json!("hello")).await;
    assert_eq!(sent["online"], true);
    logout(two, &token).await;
    let push = alice.next("presence").await;
    assert_eq!((&push["user"], &push["online"]), (&json!("zbj"), &json!(false)));
}

#[tokio::test]
async fn one_is_offline_when_the_session_runs_out() {
    let gateway = configured("[session]\ntoken_ttl = '1s'\nrefresh_grace = '1s'\n").await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    alice.ask(json!({"watch": {"users": ["zbj"]}}), "watching").await;
    logged_in(gateway.public(), "zbj").await;
    assert_eq!(alice.next("presence").await["online"], true);
    assert_eq!(alice.next("presence").await["online"], false);
}

#[tokio::test]
async fn the_groups_of_a_login_are_joined() {
    let hash = herald_tests::command::hash("pig");
    let accounts = format!(
        "[[login.accounts]]\naccount = 'zbj'\nhash = '{hash}'\nuser = '1001'\ngroups = ['west']\nbroadcast = true\n"
    );
    let gateway = configured(&accounts).await;
    let address = gateway.public();
    let response = login(address, "zbj", "pig").await;
    let (_, reply) = short::opened(&response);
    assert_eq!(
        &reply[..8],
        b"\x10\xe9\x07\x1a\x03zbj",
        "the user's number and the account"
    );
    let told = user(&gateway, "1001").await;
    assert_eq!((&told["groups"], &told["online"]), (&json!(["west"]), &json!(true)));
    let mut client = Client::with_token(address, Dialect::Json, &short::token(&response)).await;
    assert_eq!(client.connected["user"], "1001");
    client
        .ask(json!({"send": {"to": {"all": true}, "body": 1}}), "sent")
        .await;
}

/// NATS is away: nobody is called unauthorized for it.
#[tokio::test]
async fn what_cannot_be_looked_up_is_not_available() {
    let mut cluster = Cluster::start(1, 1).await;
    let address = cluster.addresses()[0];
    let token = logged_in(address, "zbj").await;
    cluster.nats.stop();
    eventually("the gateway notices", async || {
        get(cluster.gateways[0].admin(), "/health/ready").await.status == 503
    })
    .await;
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(message(address, &token, REQ_MY_DATA, b"").await.status, 503);
    assert_eq!(refresh(address, &token).await.status, 503);
    assert_eq!(login(address, "swk", "").await.status, 503);
    let bad = token::hs256("quite-another-secret-0123456789abcdef", &token::claims("zbj"));
    assert_eq!(message(address, &bad, REQ_MY_DATA, b"").await.status, 401);
    cluster.nats.start_again().await;
    eventually("it is back", async || {
        message(address, &token, REQ_MY_DATA, b"").await.status == 200
    })
    .await;
}
