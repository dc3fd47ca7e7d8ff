//! Three gateways behind a real haproxy, request by request: any node answers anything, also while keys are exchanged and
//! a node is restarted.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, path::Path};

use futures_util::{StreamExt, stream};
use herald_tests::{
    cluster::Cluster,
    gateway::FREE,
    haproxy::Haproxy,
    http::Kept,
    process::Node,
    short::{REQ_LOGIN, REQ_MY_DATA, envelope, login_request, opened, token},
    token as tokens,
};
use rustix::process::Signal;
use tempfile::TempDir;

const USERS: usize = 1_000;
const MESSAGES: usize = 20;
/// Users who are at it at the same time.
const ABREAST: usize = 100;

fn key(kid: &str) -> String {
    format!("[[auth.keys]]\nkid = '{kid}'\nalgorithm = 'HS256'\nsecret = 'the-secret-of-{kid}-0123456789abcdef'\n")
}

async fn gateway(config: &Path, nats: &str, listen: &str, admin: &str) -> Node {
    let arguments = [
        "--dev", "--nats", nats, "--listen", listen, "--admin", admin, "--drain", "1s", "--config",
    ];
    let arguments = arguments.map(str::to_owned).into_iter();
    let mut node = Node::start("herald-gateway", arguments.chain([config.to_str().unwrap().to_owned()])).await;
    node.listens("public").await;
    node
}

/// Everything that one user does; the key ids of its two tokens.
async fn play(address: SocketAddr, user: usize) -> [String; 2] {
    let mut http = Kept::to(address).await;
    let account = format!("user-{user}");
    let login = envelope(REQ_LOGIN, &login_request(&account, "x"));
    let answer = http.post("/login", "", &login).await;
    assert_eq!(answer.status, 200, "login of {account}: {answer:?}");
    let first = token(&answer);
    let mut now = first.clone();
    let mut second = String::new();
    for i in 0..MESSAGES {
        let body = format!("{account} says {i}").into_bytes();
        let answer = http.post("/message", &now, &envelope(REQ_MY_DATA, &body)).await;
        assert_eq!(answer.status, 200, "message {i} of {account}: {answer:?}");
        assert_eq!(
            opened(&answer),
            (u64::from(REQ_MY_DATA), body),
            "message {i} of {account}"
        );
        if i == MESSAGES / 2 {
            let answer = http.post("/refresh", &now, b"").await;
            assert_eq!(answer.status, 200, "refresh of {account}: {answer:?}");
            second = token(&answer);
            now.clone_from(&second);
        }
    }
    let answer = http.post("/logout", &now, b"").await;
    assert_eq!(answer.status, 200, "logout of {account}: {answer:?}");
    let answer = http.post("/refresh", &now, b"").await;
    assert_eq!(answer.status, 401, "refresh after the logout of {account}: {answer:?}");
    [first, second].map(|token| tokens::header(&token)["kid"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_thousand_users_get_no_wrong_answer_while_keys_and_nodes_change() {
    let cluster = Cluster::start(2, 0).await;
    let nats = cluster.nats.url();
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("gateway.toml");
    let write = |sign: &str| {
        let keys = format!(
            "[logging]\nlevel = 'info,herald_gateway=debug'\n[auth]\nsign_with = '{sign}'\n{}{}",
            key("old"),
            key("new")
        );
        std::fs::write(&config, keys).unwrap();
    };
    write("old");
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(gateway(&config, &nats, FREE, FREE).await);
    }
    let addresses: Vec<(SocketAddr, SocketAddr)> = gateways.iter().map(|node| (node.public(), node.admin())).collect();
    let haproxy = Haproxy::start(&addresses).await;
    let mut playing = stream::iter(0..USERS)
        .map(|user| play(haproxy.address, user))
        .buffer_unordered(ABREAST);
    let mut kids = Vec::new();
    while let Some(both) = playing.next().await {
        kids.extend(both);
        if kids.len() == USERS / 2 {
            write("new");
            gateways.iter().for_each(|gateway| gateway.signal(Signal::HUP));
        }
        if kids.len() == USERS {
            // The others play on meanwhile.
            let mut old = gateways.remove(1);
            old.terminate();
            let (listen, admin) = (addresses[1].0.to_string(), addresses[1].1.to_string());
            let restart = async {
                assert!(old.exit().await.success());
                gateway(&config, &nats, &listen, &admin).await
            };
            tokio::pin!(restart);
            let new = loop {
                tokio::select! {
                    node = restart.as_mut() => break node,
                    Some(both) = playing.next() => kids.extend(both),
                }
            };
            gateways.push(new);
        }
    }
    assert_eq!(kids.len(), 2 * USERS);
    for kid in ["old", "new"] {
        let signed = kids.iter().filter(|signed| *signed == kid).count();
        assert!(signed > USERS / 4, "{signed} by the {kid} key");
    }
}
