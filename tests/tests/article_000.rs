//! The first reference article's Go client, as it was written, against one node and against two.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    cluster::Cluster,
    eventually,
    gateway::{dev_gateway, dev_gateway_with, file},
    golang::{Program, build},
    http::request,
    process::Node,
    short::{REQ_MY_DATA, RESP_MY_DATA, logged_in, logout, message, opened},
};

fn client(address: SocketAddr) -> Program {
    Program::start(&build("article000"), address)
}

async fn token(client: &mut Program) -> String {
    client.ask("token").await.strip_prefix("token ").unwrap().to_owned()
}

/// Its requests for data are answered as replies.
const REPLY: &str = "[[routes]]\nmessage = 'cmsg.CReqMyData'\nservice = 'echo'\nreply = 'cmsg.SRespMyData'\n";

async fn short_lived() -> Node {
    let file = file("[session]\ntoken_ttl = '2s'\nrefresh_grace = '60s'\n");
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    gateway
}

#[tokio::test]
async fn it_logs_in_and_is_answered() {
    let gateway = dev_gateway().await;
    let mut client = client(gateway.public());
    // Its own main function: a login and a message.
    assert!(client.ask("article").await.starts_with("ok"));
    let login = client.ask("login zbj").await;
    assert!(login.starts_with("ok account:\"zbj\" serverTime:"), "{login}");
    assert!(client.ask("message").await.starts_with("ok"));
    client.end().await;
}

/// The answer to a message that is too late is 401; the client refreshes and sends it again.
#[tokio::test]
async fn after_its_tokens_end_it_refreshes_and_retries() {
    let gateway = short_lived().await;
    let mut client = client(gateway.public());
    assert!(client.ask("login zbj").await.starts_with("ok"));
    let first = token(&mut client).await;
    eventually("the token ends", async || {
        message(gateway.public(), &first, REQ_MY_DATA, b"").await.status == 401
    })
    .await;
    assert!(client.ask("message").await.starts_with("ok"));
    assert_ne!(token(&mut client).await, first);
    assert!(client.ask("message").await.starts_with("ok"));
}

/// Against the original it would refresh and retry for ever.
#[tokio::test]
async fn after_logout_or_kick_its_refresh_is_refused_and_it_stops() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut client = client(one);
    let stopped = "error error response from server: Invalid token. The client needs to login again";
    assert!(client.ask("login zbj").await.starts_with("ok"));
    assert!(client.ask("message").await.starts_with("ok"));
    let out = logout(two, &token(&mut client).await).await;
    assert_eq!(out.status, 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.ask("message").await, stopped);
    assert!(client.ask("login zbj").await.starts_with("ok"));
    assert!(client.ask("message").await.starts_with("ok"));
    let headers = [("Authorization", "Bearer dev-api-key")];
    let admin = cluster.gateways[1].admin();
    let kicked = request(admin, "DELETE", "/api/v1/users/zbj/connections", &headers, b"").await;
    assert_eq!(kicked.status, 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.ask("message").await, stopped);
    client.end().await;
}

/// A route's `reply` numbers the answer.
#[tokio::test]
async fn a_route_names_the_type_of_its_reply() {
    let file = file(REPLY);
    let gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    let token = logged_in(gateway.public(), "zbj").await;
    let answer = message(gateway.public(), &token, REQ_MY_DATA, b"").await;
    assert_eq!(opened(&answer).0, u64::from(RESP_MY_DATA));
}
