//! Live copies have a connection to NATS of their own. Where it alone is gone, the node says so, what is stored comes all the
//! same, and all is well again when it is back.
#![allow(clippy::unwrap_used)]

use herald_tests::{
    client::Client, cluster::dev_router, eventually, gateway::dev_gateway_with, http::get, metrics::Metrics,
    nats::NatsServer, relay::Relay,
};
use serde_json::{Value, json};

fn bob() -> Value {
    json!({"user": "bob"})
}

fn ephemeral(n: u32) -> Value {
    json!({"send": {"to": bob(), "body": n, "durable": false}})
}

#[tokio::test]
async fn while_it_is_cut_what_is_stored_comes_and_readiness_tells() {
    let nats = NatsServer::start().await;
    let _router = dev_router(&nats.url()).await;
    let address = nats.url().trim_start_matches("nats://").parse().unwrap();
    let relay = Relay::start(address, " live").await;
    let gateway = dev_gateway_with(&["--nats", &relay.url()]).await;
    let mut alice = Client::dev(gateway.public(), "alice").await;
    let mut listener = Client::dev(gateway.public(), "bob").await;
    assert_eq!(relay.names().len(), 2, "{:?}", relay.names());

    alice.say(bob(), json!(1)).await;
    assert_eq!(listener.next_message().await["body"], 1);
    alice.ask(ephemeral(2), "sent").await;
    assert_eq!(listener.next_message().await["body"], 2);

    relay.cut(true);
    let status = async || get(gateway.admin(), "/health/ready?verbose").await;
    eventually("readiness tells that nothing comes live", async || {
        let ready = status().await;
        ready.status == 503 && ready.body.lines().any(|line| line.starts_with("canary: nothing"))
    })
    .await;
    let figures = Metrics::of(gateway.admin()).await;
    assert_eq!(figures.get("herald_bus_live_connected"), 0.0);
    assert_eq!(figures.get("herald_bus_connected"), 1.0);
    for n in 3..6 {
        alice.say(bob(), json!(n)).await;
    }
    for n in 3..6 {
        assert_eq!(listener.next_message().await["body"], n);
    }
    relay.cut(false);
    eventually("it is ready again", async || status().await.status == 200).await;
    // On the same connection, though nothing of the old subscription is left.
    alice.ask(ephemeral(6), "sent").await;
    assert_eq!(listener.next_message().await["body"], 6);
    alice.say(bob(), json!(7)).await;
    assert_eq!(listener.next_message().await["body"], 7);
    let mut carol = Client::dev(gateway.public(), "carol").await;
    alice.say(json!({"user": "carol"}), json!(8)).await;
    assert_eq!(carol.next_message().await["body"], 8);
}
