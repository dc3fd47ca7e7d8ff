//! Users who are online and nodes, listed by the server API; and which API key may call what.
#![allow(clippy::unwrap_used)]

use herald_tests::{
    api::Api,
    client::Client,
    cluster::Cluster,
    command, eventually,
    gateway::{API_KEY, Config, dev_gateway, file},
};
use serde_json::{Value, json};

fn names(entries: &[Value], name: &str) -> Vec<String> {
    let name = |entry: &Value| entry[name].as_str().unwrap().to_owned();
    entries.iter().map(name).collect()
}

#[tokio::test]
async fn pages_give_everybody_who_is_online_once() {
    let cluster = Cluster::start(1, 2).await;
    let api = Api::dev(cluster.gateways[0].admin());
    let mut clients = Vec::new();
    for n in 0..7 {
        let address = cluster.gateways[n % 2].public();
        clients.push(Client::dev(address, &format!("u{n} 小/")).await);
    }
    clients.push(Client::dev(cluster.gateways[0].public(), "u0 小/").await);
    for limit in [1, 3, 1000] {
        let users = api.all("users?online=true", "users", limit).await;
        let expected: Vec<String> = (0..7).map(|n| format!("u{n} 小/")).collect();
        assert_eq!(names(&users, "user"), expected);
        assert!(
            users
                .iter()
                .all(|user| user["online"] == true && user["since"].is_u64())
        );
    }
    eventually("both connections are counted", async || {
        api.get("users?limit=1").await["users"][0]["connections"] == 2
    })
    .await;
    for client in clients.drain(1..) {
        client.close().await;
    }
    eventually("one is left", async || {
        api.get("users").await["users"].as_array().unwrap().len() == 1
    })
    .await;
    assert_eq!(api.refused("GET", "users?online=false", None).await.0, 400);
    assert_eq!(api.refused("GET", "users?limit=x", None).await.0, 400);
}

#[tokio::test]
async fn every_node_is_listed_with_how_it_is() {
    let mut cluster = Cluster::start(2, 2).await;
    let api = Api::dev(cluster.gateways[0].admin());
    let _client = Client::dev(cluster.gateways[0].public(), "bob").await;
    let nodes = async || api.get("nodes").await["nodes"].as_array().unwrap().clone();
    let of = |nodes: &[Value], kind: &str| {
        nodes
            .iter()
            .filter(|node| node["kind"] == kind)
            .cloned()
            .collect::<Vec<_>>()
    };
    eventually("all four are ready", async || {
        let nodes = nodes().await;
        nodes.len() == 4 && nodes.iter().all(|node| node["ready"] == true)
    })
    .await;
    let gateways = of(&nodes().await, "gateway");
    let mut connections: Vec<u64> = gateways
        .iter()
        .map(|node| node["connections"].as_u64().unwrap())
        .collect();
    connections.sort_unstable();
    assert_eq!(connections, [0, 1]);
    for node in nodes().await {
        assert!(
            node["version"].is_string() && node["started"].as_u64().unwrap() > 0,
            "{node}"
        );
        assert!(node["lease_age_ms"].as_u64().unwrap() < 10_000, "{node}");
    }
    cluster.gateways[1].kill();
    eventually("the dead one does not answer", async || {
        let nodes = nodes().await;
        let dead = nodes.iter().find(|node| node["ready"] == false);
        dead.is_some_and(|node| node["why"] == "no answer" && node["lease_age_ms"].is_u64())
    })
    .await;
    eventually("its lease has ended", async || of(&nodes().await, "gateway").len() == 1).await;
}

const RIGHTS: [(&str, &str, &str); 19] = [
    ("messages", "POST", "messages"),
    ("messages", "POST", "messages/batch"),
    ("users", "GET", "users"),
    ("user", "GET", "users/bob"),
    ("kick", "DELETE", "users/bob/connections"),
    ("presence", "POST", "presence"),
    ("groups", "GET", "groups"),
    ("groups", "GET", "groups/g"),
    ("delete_group", "DELETE", "groups/g"),
    ("members", "GET", "groups/g/members"),
    ("change_members", "POST", "groups/g/members"),
    ("change_members", "PUT", "groups/g/members/bob"),
    ("change_members", "DELETE", "groups/g/members/bob"),
    ("history", "GET", "history?user=bob"),
    ("delete_history", "DELETE", "history?user=bob"),
    ("nodes", "GET", "nodes"),
    ("drain", "GET", "drain"),
    ("log-level", "GET", "log-level"),
    ("log-level", "PUT", "log-level"),
];

#[tokio::test]
async fn an_api_key_is_limited_to_the_calls_that_it_names() {
    let rights: std::collections::BTreeSet<&str> = RIGHTS.iter().map(|(right, ..)| *right).collect();
    let key = |right: &str| format!("a-key-that-may-only-call-{right}");
    let keys: String = rights
        .iter()
        .map(|right| {
            let key = key(right);
            format!("[[admin.api_keys]]\nname = \"{right}\"\nkey = \"{key}\"\ncalls = [\"{right}\"]\n")
        })
        .collect();
    let config = Config {
        rest: keys,
        ..Config::default()
    };
    let gateway = config.start().await;
    for right in &rights {
        let api = Api::with_key(gateway.admin(), &key(right));
        for (of, method, path) in RIGHTS {
            let status = api.call(method, path, None).await.status;
            assert_eq!(status == 403, of != *right, "{right}: {method} {path} is {status}");
        }
        assert_eq!(api.get("openapi.json").await["openapi"], "3.1.0");
    }
    let everything = Api::with_key(gateway.admin(), API_KEY);
    for (_, method, path) in RIGHTS {
        assert_ne!(everything.call(method, path, None).await.status, 403, "{method} {path}");
    }
    let nobody = Api::with_key(gateway.admin(), "another-key-0123456789");
    for (_, method, path) in RIGHTS {
        assert_eq!(
            nobody.refused(method, path, None).await,
            (401, "unauthorized".to_owned())
        );
    }
    assert_eq!(nobody.refused("GET", "openapi.json", None).await.0, 401);
}

#[tokio::test]
async fn a_call_that_is_not_there_is_a_fault_of_the_configuration() {
    let config = Config {
        rest: "[[admin.api_keys]]\nname = \"a\"\nkey = \"a-key-of-these-tests-0123456789\"\ncalls = [\"fly\"]\n".into(),
        ..Config::default()
    };
    let file = file(&config.text());
    let outcome = command::run("herald-gateway", ["check", "--config", file.path().to_str().unwrap()]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("no call \"fly\"") && outcome.stderr.contains("delete_group"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn another_method_is_told_which_there_are() {
    let gateway = dev_gateway().await;
    let api = Api::dev(gateway.admin());
    for (method, path, allow) in [
        ("POST", "groups", "GET"),
        ("PATCH", "groups/g/members", "GET, POST"),
        ("GET", "groups/g/members/bob", "PUT, DELETE"),
        ("PUT", "history", "GET, DELETE"),
    ] {
        let response = api.call(method, path, Some(&json!({}))).await;
        assert_eq!(
            (response.status, response.header("allow")),
            (405, Some(allow)),
            "{method} {path}"
        );
        assert_eq!(response.json()["error"]["code"], "unsupported");
    }
}
