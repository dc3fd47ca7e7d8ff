//! The client library: its own tests, in JavaScript, against real gateways.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use herald_tests::{
    cluster::Cluster,
    gateway::{FREE, dev_gateway},
    haproxy::Haproxy,
    http::{get, request},
    javascript::{Tests, WITH_WEBSOCKETS, servers},
    process::Node,
};

#[tokio::test]
async fn what_is_decided_without_a_server_is_as_the_unit_tests_say() {
    for name in ["decisions", "client", "events", "metrics"] {
        let file = format!("unit/{name}.test.mjs");
        Tests::start(&[], &file, &[]).pass().await;
    }
}

#[tokio::test]
async fn the_client_keeps_its_promises_over_websockets_and_events() {
    let gateway = dev_gateway().await;
    let servers = servers(gateway.public(), gateway.admin());
    Tests::start(WITH_WEBSOCKETS, "outside/one.test.mjs", &servers)
        .pass()
        .await;
}

#[tokio::test]
async fn the_client_works_in_a_node_as_it_comes() {
    let gateway = dev_gateway().await;
    let servers = servers(gateway.public(), gateway.admin());
    Tests::start(&[], "outside/one.test.mjs", &servers).pass().await;
}

/// On the same addresses as before.
async fn restart(old: &mut Node, more: &[&str]) -> Node {
    let (public, admin) = (old.public().to_string(), old.admin().to_string());
    old.terminate();
    assert!(old.exit().await.success());
    gateway(&public, &admin, more).await
}

async fn gateway(public: &str, admin: &str, more: &[&str]) -> Node {
    let arguments = [&["--dev", "--listen", public, "--admin", admin], more].concat();
    let mut node = Node::start("herald-gateway", arguments).await;
    node.listens("public").await;
    node
}

#[tokio::test]
async fn restarted_gateways_cost_the_client_nothing() {
    let cluster = Cluster::start(2, 0).await;
    let nats = cluster.nats.url();
    let more = ["--nats", &nats, "--drain", "1s"];
    let mut gateways = [gateway(FREE, FREE, &more).await, gateway(FREE, FREE, &more).await];
    let addresses: Vec<(SocketAddr, SocketAddr)> = gateways.iter().map(|node| (node.public(), node.admin())).collect();
    let haproxy = Haproxy::start(&addresses).await;
    let servers = servers(haproxy.address, addresses[0].1);
    let mut tests = Tests::start(WITH_WEBSOCKETS, "outside/balanced.test.mjs", &servers);
    for wanted in ["restart 0", "restart 1"] {
        let asked = tests.asked().await;
        assert_eq!(asked.as_deref(), Some(wanted));
        let at = usize::from(wanted.ends_with('1'));
        gateways[at] = restart(&mut gateways[at], &more).await;
        tests.done().await;
    }
    tests.pass().await;
}

#[tokio::test]
async fn a_log_that_is_gone_is_told_to_the_client() {
    let mut gateway = dev_gateway().await;
    let servers = servers(gateway.public(), gateway.admin());
    let mut tests = Tests::start(WITH_WEBSOCKETS, "outside/gap.test.mjs", &servers);
    assert_eq!(tests.asked().await.as_deref(), Some("restart 0"));
    gateway = restart(&mut gateway, &[]).await;
    tests.done().await;
    tests.pass().await;
    drop(gateway);
}

#[tokio::test]
async fn the_library_is_served_to_pages_of_any_origin() {
    let gateway = dev_gateway().await;
    for (path, content_type) in [
        ("/herald.js", "text/javascript; charset=utf-8"),
        ("/herald.d.ts", "text/plain; charset=utf-8"),
    ] {
        let elsewhere = [("Origin", "https://elsewhere.example")];
        let answer = request(gateway.public(), "GET", path, &elsewhere, b"").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        for (name, value) in [
            ("content-type", content_type),
            ("access-control-allow-origin", "*"),
            ("cache-control", "public, max-age=300"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
        let etag = answer.header("etag").unwrap().to_owned();
        let again = request(gateway.public(), "GET", path, &[("If-None-Match", &etag)], b"").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        let other = request(gateway.public(), "POST", path, &[], b"").await;
        assert_eq!(
            (other.status, other.header("allow")),
            (405, Some("GET, HEAD")),
            "{path}"
        );
    }
    // What it speaks to is for allowed origins only.
    let elsewhere = [("Origin", "https://elsewhere.example")];
    let answer = request(gateway.public(), "POST", "/command", &elsewhere, b"{}").await;
    assert_eq!(answer.status, 403);
    assert_eq!(get(gateway.admin(), "/herald.js").await.status, 404);
}
