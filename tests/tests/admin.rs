//! The admin listener: health, metrics, and the application's own messages.
#![allow(clippy::unwrap_used)]

use herald_tests::{
    client::{Client, Dialect},
    eventually,
    gateway::{API_KEY, Config, FREE, SECRET, dev_gateway},
    http::{DEV_API_KEY, get, messages, post, request},
    nats::NatsServer,
    process::Node,
    token,
};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/messages";

#[tokio::test]
async fn health_and_metrics_need_no_key() {
    let gateway = Config::default().start().await;
    for path in ["/health/live", "/health/ready", "/metrics"] {
        let response = get(gateway.admin(), path).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
    }
}

#[tokio::test]
async fn metrics_count_and_name_no_user() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice-in-metrics").await;
    alice.join("group-in-metrics").await;
    alice.say(json!({"group": "group-in-metrics"}), json!(1)).await;
    let metrics = get(gateway.admin(), "/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .is_some_and(|t| t.starts_with("text/plain")),
        "{metrics:?}"
    );
    let samples = metrics
        .body
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut count = 0;
    for sample in samples {
        let (name, value) = sample.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("herald_") || name.starts_with("process_"), "{sample}");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        count += 1;
    }
    assert!(count >= 3, "{}", metrics.body);
    assert!(metrics.body.contains("# HELP"), "{}", metrics.body);
    assert!(metrics.body.contains("# TYPE"), "{}", metrics.body);
    for id in ["alice-in-metrics", "group-in-metrics"] {
        assert!(!metrics.body.contains(id), "{}", metrics.body);
    }
}

#[tokio::test]
async fn the_gauge_of_connections_is_true() {
    let gateway = dev_gateway().await;
    let connections = async || {
        let metrics = get(gateway.admin(), "/metrics").await.body;
        let gauges = metrics
            .lines()
            .filter(|line| line.starts_with("herald_") && line.contains("connections"));
        let gauges = gauges.filter(|line| !line.contains("_total"));
        gauges
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum::<f64>()
    };
    let mut clients = Vec::new();
    for i in 0..5 {
        clients.push(Client::dev(gateway.public(), &format!("u{i}")).await);
    }
    eventually("five connections", async || connections().await == 5.0).await;
    for client in clients {
        client.close().await;
    }
    eventually("none", async || connections().await == 0.0).await;
}

#[tokio::test]
async fn a_gateway_without_its_nats_is_alive_and_not_ready() {
    let arguments = [
        "--dev",
        "--nats",
        "nats://127.0.0.1:1",
        "--listen",
        FREE,
        "--admin",
        FREE,
    ];
    let mut gateway = Node::spawn("herald-gateway", arguments);
    gateway.listens("admin").await;
    assert_eq!(get(gateway.admin(), "/health/live").await.status, 200);
    assert_eq!(get(gateway.admin(), "/health/ready").await.status, 503);
    let mut router = Node::spawn(
        "herald-router",
        ["--dev", "--nats", "nats://127.0.0.1:1", "--admin", FREE],
    );
    router.listens("admin").await;
    assert_eq!(get(router.admin(), "/health/live").await.status, 200);
    assert_eq!(get(router.admin(), "/health/ready").await.status, 503);
    assert!(gateway.running() && router.running());
}

/// Whoever looks why it is not ready is told what NATS lacks, and not that it is away.
#[tokio::test]
async fn a_router_whose_streams_are_refused_says_why_it_is_not_ready() {
    let nats = NatsServer::start_with("jetstream { max_file_store: 16MB }\n").await;
    let url = nats.url();
    let mut router = Node::spawn("herald-router", ["--dev", "--nats", &url, "--admin", FREE]);
    let mut gateway = Node::spawn(
        "herald-gateway",
        ["--dev", "--nats", &url, "--listen", FREE, "--admin", FREE],
    );
    for (node, why) in [
        (&mut router, "insufficient storage resources"),
        (&mut gateway, "no router has made them"),
    ] {
        node.listens("admin").await;
        let admin = node.admin();
        eventually(why, async || {
            let ready = get(admin, "/health/ready").await;
            assert_eq!(ready.status, 503);
            ready.body.contains(why)
        })
        .await;
    }
    drop(nats);
    for node in [&router, &gateway] {
        eventually("that is away", async || {
            get(node.admin(), "/health/ready").await.body == "no connection to NATS\n"
        })
        .await;
    }
}

#[tokio::test]
async fn the_application_writes_to_a_user() {
    let gateway = dev_gateway().await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let mut desk = Client::with_token(gateway.public(), Dialect::Proto, &token::dev("bob")).await;
    let body = json!({"to": {"user": "bob"}, "body": {"order": 7}, "kind": "shipped"});
    let [result] = messages(gateway.admin(), &body).await.try_into().expect("one result");
    assert_eq!(result["online"], true);
    assert_eq!(result["duplicate"], false);
    for client in [&mut bob, &mut desk] {
        let message = client.next_message().await;
        let expected = json!({"id": result["id"], "to": {"user": "bob"}, "kind": "shipped", "body": {"order": 7},
            "time": result["time"], "offset": result["offset"]});
        assert_eq!(message, expected, "no `from`: it is the application's own");
    }
    let [result] = messages(gateway.admin(), &json!({"to": {"user": "nobody"}, "body": null}))
        .await
        .try_into()
        .unwrap();
    assert_eq!(result["online"], false);
}

#[tokio::test]
async fn the_application_may_speak_for_a_user() {
    let gateway = dev_gateway().await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    messages(
        gateway.admin(),
        &json!({"to": {"user": "bob"}, "body": 1, "from": "support"}),
    )
    .await;
    assert_eq!(bob.next_message().await["from"], "support");
}

#[tokio::test]
async fn the_application_writes_to_groups_and_to_all_without_membership() {
    let gateway = dev_gateway().await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let mut carol = Client::dev(gateway.public(), "carol").await;
    bob.join("g1").await;
    let [to_group] = messages(gateway.admin(), &json!({"to": {"group": "g1"}, "body": "g"}))
        .await
        .try_into()
        .unwrap();
    let ephemeral = json!({"to": {"all": true}, "body": "a", "durable": false});
    let [to_all] = messages(gateway.admin(), &ephemeral).await.try_into().unwrap();
    assert!(to_group["offset"].is_string(), "{to_group}");
    assert_eq!(to_all.get("offset"), None, "{to_all}");
    let heard = bob.messages(2).await;
    assert_eq!((&heard[0]["id"], &heard[1]["id"]), (&to_group["id"], &to_all["id"]));
    let heard = carol.next_message().await;
    assert_eq!((&heard["id"], &heard["body"]), (&to_all["id"], &json!("a")));
}

#[tokio::test]
async fn each_of_several_users_has_a_result_and_one_failure_spoils_no_other() {
    let gateway = dev_gateway().await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let users = json!(["alice", "x".repeat(129), "nobody", "", "bob"]);
    let results = messages(gateway.admin(), &json!({"to": {"users": users}, "body": 1})).await;
    assert_eq!(results.len(), 5);
    for (at, online) in [(0, true), (2, false), (4, true)] {
        assert_eq!(results[at]["online"], online, "{results:?}");
        assert!(results[at]["id"].is_string());
    }
    for at in [1, 3] {
        assert_eq!(results[at]["error"]["code"], "bad_request", "{results:?}");
        assert_eq!(results[at]["error"]["retry"], false);
    }
    assert_eq!(alice.next_message().await["to"], json!({"user": "alice"}));
    assert_eq!(bob.next_message().await["to"], json!({"user": "bob"}));
}

#[tokio::test]
async fn a_thousand_targets_are_taken_and_one_more_is_not() {
    let gateway = dev_gateway().await;
    let mut last = Client::dev(gateway.public(), "u999").await;
    let to = |count: usize| {
        let users: Vec<String> = (0..count).map(|i| format!("u{i}")).collect();
        json!({"to": {"users": users}, "body": 1})
    };
    let results = messages(gateway.admin(), &to(1_000)).await;
    assert_eq!(results.len(), 1_000);
    assert_eq!(
        last.next_message().await["id"],
        results[999]["id"],
        "results are in the order of the targets"
    );
    let response = post(gateway.admin(), PATH, DEV_API_KEY, &to(1_001)).await;
    assert!([400, 413].contains(&response.status), "{}", response.status);
}

#[tokio::test]
async fn a_key_of_the_application_makes_two_calls_one_message_per_target() {
    let gateway = dev_gateway().await;
    let mut bob = Client::dev(gateway.public(), "bob").await;
    let body = json!({"to": {"users": ["bob", "carol"]}, "body": 1, "key": "order-7"});
    let first = messages(gateway.admin(), &body).await;
    let again = messages(gateway.admin(), &body).await;
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(
            (&first["duplicate"], &again["duplicate"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(first["id"], again["id"]);
    }
    assert_ne!(first[0]["id"], first[1]["id"]);
    messages(gateway.admin(), &json!({"to": {"user": "bob"}, "body": "mark"})).await;
    let heard: Vec<Value> = bob.messages(2).await.into_iter().map(|m| m["body"].clone()).collect();
    assert_eq!(heard, [json!(1), json!("mark")]);
}

#[tokio::test]
async fn only_a_good_api_key_opens_the_server_api() {
    let limited = "[[admin.api_keys]]\nname = \"idle\"\nkey = \"a-key-that-may-do-nothing-0123456789abcdef\"\n\
                   calls = []\n[[admin.api_keys]]\nname = \"writer\"\n\
                   key = \"a-key-that-may-only-write-0123456789abcde\"\ncalls = [\"messages\"]\n";
    let gateway = Config {
        rest: limited.into(),
        ..Config::default()
    }
    .start()
    .await;
    let admin = gateway.admin();
    let body = json!({"to": {"user": "bob"}, "body": 1});
    assert_eq!(post(admin, PATH, API_KEY, &body).await.status, 200);
    assert_eq!(
        post(admin, PATH, "a-key-that-may-only-write-0123456789abcde", &body)
            .await
            .status,
        200
    );
    let refused = post(admin, PATH, "a-key-that-may-do-nothing-0123456789abcdef", &body).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (403, &json!("forbidden"))
    );
    let text = body.to_string();
    let user_token = format!("Bearer {}", token::hs256(SECRET, &token::claims("alice")));
    for headers in [
        &[][..],
        &[("Authorization", "Bearer")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", API_KEY)],
        &[("Authorization", user_token.as_str())],
    ] {
        let refused = request(admin, "POST", PATH, headers, text.as_bytes()).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (401, &json!("unauthorized")),
            "{headers:?}"
        );
    }
    let in_query = request(admin, "POST", &format!("{PATH}?token={API_KEY}"), &[], text.as_bytes()).await;
    assert_eq!(in_query.status, 401);
}

#[tokio::test]
async fn a_bad_call_meets_a_named_error() {
    let gateway = dev_gateway().await;
    let bearer = format!("Bearer {DEV_API_KEY}");
    let call = async |body: &[u8]| request(gateway.admin(), "POST", PATH, &[("Authorization", &bearer)], body).await;
    let nest = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "",
        "nonsense",
        "[]",
        "{}",
        "\u{0}",
        &nest,
        &format!(r#"{{"to":{{"user":"bob"}},"body":{nest}}}"#),
        r#"{"to":{"user":"bob"},"body":1,"durable":"no"}"#,
        r#"{"to":{"user":7},"body":1}"#,
        r#"{"to":{},"body":1}"#,
        r#"{"to":{"user":"a","group":"b"},"body":1}"#,
        r#"{"to":{"users":"a"},"body":1}"#,
        r#"{"to":{"all":false},"body":1}"#,
        r#"{"to":{"user":"bob"},"body":1,"ttl":-1}"#,
        r#"{"to":{"user":"bob"},"body":1,"from":"a\nb"}"#,
    ] {
        let response = call(body.as_bytes()).await;
        assert_eq!(response.status, 400, "{:.80}: {response:?}", body);
        assert_eq!(response.json()["error"]["code"], "bad_request", "{:.80}", body);
        assert_eq!(response.json()["error"]["retry"], false, "{:.80}", body);
    }
    assert_eq!(call(b"\"\xff\"").await.status, 400, "no UTF-8");
    let huge = json!({"to": {"user": "bob"}, "body": "x".repeat(2 << 20)}).to_string();
    assert_eq!(call(huge.as_bytes()).await.status, 413);
    assert_eq!(
        messages(gateway.admin(), &json!({"to": {"user": "bob"}, "body": 1}))
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn the_listeners_serve_only_their_own_paths() {
    let gateway = dev_gateway().await;
    let (public, admin) = (gateway.public(), gateway.admin());
    let bearer = format!("Bearer {DEV_API_KEY}");
    let body = br#"{"to":{"user":"bob"},"body":1}"#;
    let on_public = request(public, "POST", PATH, &[("Authorization", &bearer)], body).await;
    assert_eq!(on_public.status, 404);
    for path in ["/metrics", "/health/live", "/health/ready"] {
        assert_eq!(get(public, path).await.status, 404, "{path}");
    }
    assert_eq!(get(admin, "/ws").await.status, 404);
    assert_eq!(
        request(admin, "GET", PATH, &[("Authorization", &bearer)], b"")
            .await
            .status,
        405
    );
    let unknown = request(admin, "POST", "/api/v1/nothing", &[("Authorization", &bearer)], b"{}").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(post(admin, "/health/live", DEV_API_KEY, &json!({})).await.status, 405);
}
