//! What happens is told to the application: signed, in order, at least once, whoever dies meanwhile.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    api::Api,
    client::Client,
    cluster::Cluster,
    command, eventually,
    gateway::{Config, dev_gateway_with, file},
    metrics::Metrics,
    process::Node,
    short::{login, logout, token},
    webhook::{Does, Receiver, SECRET, is_signed, outage::Outage},
};
use serde_json::{Value, json};

const ALL: &str = "[events]\nkinds = [\"connected\", \"disconnected\", \"online\", \"offline\", \"message\", \"group\", \"login\", \"logout\"]\n";

async fn gateway(config: &str) -> Node {
    let file = file(config);
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    gateway
}

/// A node's answer to all that users do, whichever bus carries it.
async fn everything_is_told(receiver: &Receiver, node: &Node) {
    let api = Api::dev(node.admin());
    let mut bob = Client::dev(node.public(), "bob").await;
    bob.join("team").await;
    bob.say(json!({"group": "team"}), json!({"text": "hi"})).await;
    api.delete("groups/team/members/bob").await;
    bob.close().await;
    receiver.hears("bob", "offline").await;
    let kinds = receiver.kinds_of("bob");
    for kind in ["connected", "online", "message", "disconnected", "offline"] {
        assert_eq!(kinds.iter().filter(|of| *of == kind).count(), 1, "{kind} in {kinds:?}");
    }
    assert_eq!(kinds.iter().filter(|kind| *kind == "group").count(), 2, "{kinds:?}");
    let connected = receiver.hears("bob", "connected").await;
    assert_eq!(connected["dialect"], "herald.v1.json");
    assert_eq!(connected["address"], "127.0.0.1");
    assert!(
        connected["time"].is_u64() && connected["node"].is_string(),
        "{connected}"
    );
    let disconnected = receiver.hears("bob", "disconnected").await;
    assert_eq!(disconnected["connection"], connected["connection"]);
    assert_eq!(
        (&disconnected["code"], &disconnected["reason"]),
        (&json!(1000), &json!("closed by the client"))
    );
    let message = receiver.hears("bob", "message").await["message"].take();
    assert_eq!(
        (&message["to"], &message["body"]),
        (&json!({"group": "team"}), &json!({"text": "hi"}))
    );
    assert!(message["offset"].is_string(), "{message}");
    let groups: Vec<Value> = receiver
        .of("bob")
        .into_iter()
        .filter(|event| event["kind"] == "group")
        .collect();
    assert_eq!(
        (&groups[0]["joined"], &groups[1]["joined"]),
        (&json!(true), &json!(false))
    );

    let mut kicked = Client::dev(node.public(), "eve").await;
    api.delete("users/eve/connections").await;
    assert_eq!(kicked.closed().await, 4102);
    assert_eq!(receiver.hears("eve", "disconnected").await["code"], 4102);

    let response = login(node.public(), "zoe", "any").await;
    logout(node.public(), &token(&response)).await;
    let (login, logout) = (
        receiver.hears("zoe", "login").await,
        receiver.hears("zoe", "logout").await,
    );
    assert_eq!(login["session"], logout["session"]);
    assert_eq!(
        (&login["account"], &logout["reason"]),
        (&json!("zoe"), &json!("logout"))
    );
}

#[tokio::test]
async fn everything_is_told_by_a_gateway_that_stands_alone() {
    let receiver = Receiver::start().await;
    let gateway = gateway(&format!("{ALL}{}", receiver.table("hook", ""))).await;
    everything_is_told(&receiver, &gateway).await;
}

#[tokio::test]
async fn everything_is_told_once_by_a_cluster() {
    let receiver = Receiver::start().await;
    let cluster = Cluster::start_with(3, 1, &format!("{ALL}{}", receiver.table("hook", ""))).await;
    everything_is_told(&receiver, &cluster.gateways[0]).await;
}

#[tokio::test]
async fn the_next_router_tells_who_comes_and_goes() {
    let receiver = Receiver::start().await;
    let mut cluster = Cluster::start_with(2, 1, &receiver.table("hook", "")).await;
    for n in 0..2 {
        let user = format!("user-{n}");
        let client = Client::dev(cluster.gateways[0].public(), &user).await;
        receiver.hears(&user, "online").await;
        client.close().await;
        receiver.hears(&user, "offline").await;
        let kinds = receiver.kinds_of(&user);
        assert_eq!(kinds.iter().filter(|kind| *kind == "online").count(), 1, "{kinds:?}");
        assert_eq!(kinds.iter().filter(|kind| *kind == "offline").count(), 1, "{kinds:?}");
        if n == 0 {
            cluster.routers[0].kill();
        }
    }
}

#[tokio::test]
async fn one_who_is_back_at_once_never_was_offline() {
    let receiver = Receiver::start().await;
    let gateway = gateway(&receiver.table("hook", "")).await;
    for _ in 0..3 {
        Client::dev(gateway.public(), "bob").await.close().await;
    }
    receiver.hears("bob", "offline").await;
    let kinds = receiver.kinds_of("bob");
    for (kind, count) in [("connected", 3), ("disconnected", 3), ("online", 1), ("offline", 1)] {
        assert_eq!(
            kinds.iter().filter(|of| *of == kind).count(),
            count,
            "{kind} in {kinds:?}"
        );
    }
}

#[tokio::test]
async fn an_outage_of_the_receiver_and_the_death_of_a_router_change_nothing() {
    let outage = Outage {
        up: Duration::from_secs(1),
        down: Duration::from_secs(4),
        rate: 200,
    };
    let report = outage.run().await;
    assert_eq!((report.missing, report.out_of_order), (0, 0), "{report:?}");
    assert!(report.events > 500, "{report:?}");
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody() {
    let (receiver, hanging) = (Receiver::start().await, Receiver::start().await);
    hanging.does(Does::Hang);
    let config = receiver.table("good", "") + &hanging.table("hanging", "timeout = \"60s\"");
    let gateway = gateway(&config).await;
    let api = Api::dev(gateway.admin());
    for n in 0..50 {
        api.put(&format!("groups/g{n}/members/bob")).await;
    }
    eventually("the other has all", async || receiver.of("bob").len() == 50).await;
    assert_eq!(hanging.count(), 0);
}

#[tokio::test]
async fn what_a_receiver_refuses_is_parked_and_counted_and_the_next_follows() {
    let receiver = Receiver::start().await;
    receiver.does(Does::Refuse("mallory"));
    let cluster = Cluster::start_with(1, 1, &receiver.table("hook", "refusals = 2")).await;
    let api = Api::dev(cluster.gateways[0].admin());
    let users = ["ann", "mallory", "zoe"];
    api.post("groups/g/members", &json!({ "add": users })).await;
    for user in ["ann", "zoe"] {
        receiver.hears(user, "group").await;
    }
    assert!(receiver.of("mallory").is_empty());
    let parked = "herald_webhook_events_total{webhook=\"hook\",outcome=\"parked\"}";
    eventually("it is counted", async || {
        Metrics::of(cluster.routers[0].admin()).await.get(parked) == 1.0
    })
    .await;
    let nats = async_nats::connect(cluster.nats.url()).await.unwrap();
    let stream = async_nats::jetstream::new(nats)
        .get_stream("herald-dev_PARKED")
        .await
        .unwrap();
    let parked = stream
        .get_last_raw_message_by_subject("herald-dev.parked.hook")
        .await
        .unwrap();
    let parked: Value = serde_json::from_slice(&parked.payload).unwrap();
    assert_eq!((&parked["user"], &parked["kind"]), (&json!("mallory"), &json!("group")));
}

#[tokio::test]
async fn redirects_are_not_followed_and_both_secrets_sign() {
    let receiver = Receiver::start().await;
    receiver.does(Does::Answer(307));
    let table = receiver.table("hook", "").replace(
        &format!("[\"{SECRET}\"]"),
        &format!("[\"the-secret-that-comes-next\", \"{SECRET}\"]"),
    );
    let gateway = gateway(&table).await;
    Api::dev(gateway.admin()).put("groups/g/members/bob").await;
    eventually("it is tried again", async || receiver.requests() > 2).await;
    assert_eq!(receiver.count(), 0);
    receiver.does(Does::Accept);
    receiver.hears("bob", "group").await;
    let signature = receiver.signatures().remove(0);
    assert_eq!(signature.matches(",v1=").count(), 2, "{signature}");
    assert!(!is_signed(&signature, b"another body", SECRET));
}

#[tokio::test]
async fn what_nobody_wants_is_not_told() {
    let receiver = Receiver::start().await;
    let table = receiver.table("hook", "events = [\"group\"]\nmax_batch = 7");
    let cluster = Cluster::start_with(1, 1, &table).await;
    let _client = Client::dev(cluster.gateways[0].public(), "bob").await;
    let api = Api::dev(cluster.gateways[0].admin());
    let users: Vec<String> = (0..100).map(|n| format!("u{n}")).collect();
    api.post("groups/g/members", &json!({ "add": users })).await;
    eventually("all hundred", async || receiver.count() == 100).await;
    assert!(receiver.events().iter().all(|event| event["kind"] == "group"));
    assert!(
        receiver.largest() <= 7 && receiver.requests() < 100,
        "batched, within the limit"
    );
}

#[tokio::test]
async fn faults_of_webhooks_are_named() {
    let good = "name = \"a\"\nurl = \"http://127.0.0.1:1/\"\nsecrets = [\"0123456789abcdef\"]\n";
    let check = |table: &str| {
        let config = Config {
            rest: format!("[[webhooks]]\n{table}"),
            ..Config::default()
        };
        let file = file(&config.text());
        command::run("herald-gateway", ["check", "--config", file.path().to_str().unwrap()])
    };
    assert_eq!(check(good).code, Some(0));
    for (part, bad, fault) in [
        ("http://127.0.0.1:1/", "http://169.254.169.254/", "webhooks[0].url"),
        ("http://127.0.0.1:1/", "http://2852039166/", "webhooks[0].url"),
        ("http://127.0.0.1:1/", "http://0xa9fea9fe/", "webhooks[0].url"),
        ("http://127.0.0.1:1/", "ftp://example.org/", "webhooks[0].url"),
        ("http://127.0.0.1:1/", "http://user@example.org/", "webhooks[0].url"),
        ("0123456789abcdef", "short", "webhooks[0].secrets"),
        ("\"a\"", "\"a b\"", "webhooks[0].name"),
        ("secrets", "events = [\"message\"]\nsecrets", "webhooks[0].events"),
        ("secrets", "events = [\"fly\"]\nsecrets", "webhooks[0].events"),
        ("secrets", "max_batch = 0\nsecrets", "webhooks[0].max_batch"),
    ] {
        let outcome = check(&good.replace(part, bad));
        assert_eq!(outcome.code, Some(2), "{bad}");
        assert!(outcome.stderr.contains(fault), "{bad}: {}", outcome.stderr);
    }
    // There they would wait for events in vain.
    let outcome = check(&format!("{good}[nats]\nurls = [\"nats://127.0.0.1:1\"]\n"));
    assert_eq!(outcome.code, Some(2));
    let fault = "webhooks: with NATS they stand in the routers' files";
    assert!(outcome.stderr.contains(fault), "{}", outcome.stderr);
    let allowed = good.replace("127.0.0.1:1", "169.254.10.7") + "allow_addresses = [\"169.254.10.7\"]\n";
    assert_eq!(check(&allowed).code, Some(0));
}
