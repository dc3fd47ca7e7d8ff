//! What only NATS can do to us: be late, go away, come back, and lose what it kept.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures_util::TryStreamExt;
use herald_proto::Target;
use herald_router::bus::{Bucket, BusError, BusState, LogLimits};
use herald_tests::nats::NatsServer;
use tokio::time::timeout;

use crate::{
    watch::{Table, put, watch},
    world::{Node, PATIENCE, config, hear, limits, names, recorder, text, until},
};

async fn started() -> (NatsServer, Node) {
    let server = NatsServer::start().await;
    let node = Node::start(config(server.url(), limits())).await;
    node.reaches(BusState::Ready).await;
    (server, node)
}

async fn operator(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.expect("NATS is there"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_may_start_before_nats() {
    let mut server = NatsServer::reserve();
    let node = Node::start(config(server.url(), limits())).await;
    assert_eq!(*node.bus.pubsub.state().borrow(), BusState::Starting);
    let appended = node.bus.log.append(&Target::All, text("early"), "1").await;
    assert!(matches!(appended, Err(BusError::Unavailable(_))), "{appended:?}");
    let mut watch = watch(&node.bus, "").await;
    server.start_again().await;
    node.reaches(BusState::Ready).await;
    assert!(node.bus.log.id().borrow().is_some());
    let appended = node.bus.log.append(&Target::All, text("now"), "1").await;
    assert!(appended.is_ok_and(|appended| appended.sequence == 1 && !appended.duplicate));
    let mut table = Table::default();
    table.follow(&mut watch, "current", |table| table.current).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nats_is_away_commands_fail_at_once_and_afterwards_all_goes_on() {
    let (mut server, node) = started().await;
    let (bus, ann) = (&node.bus, Target::user("ann"));
    let (sink, mut heard) = recorder();
    let _subscription = bus.log.subscribe(&ann, sink).await.expect("subscribed");
    let mut served = bus.pubsub.queue_subscribe("served", "q").await.expect("subscribed");
    let mut watch = watch(bus, "").await;
    let mut table = Table::default();
    put(bus, "before", "1").await;
    table
        .follow(&mut watch, "it stands", |table| table.current && table.keys.len() == 1)
        .await;
    let before = bus.log.append(&ann, text("before"), "before").await.expect("appended");
    hear(&mut heard).await;
    let id = bus.log.id().borrow().clone();

    server.stop();
    node.reaches(BusState::Lost).await;
    let began = Instant::now();
    let unavailable = |error: Option<BusError>| {
        assert!(matches!(error, Some(BusError::Unavailable(_))), "{error:?}");
    };
    for n in 0..3_000 {
        // More than any queue of the client holds.
        unavailable(bus.pubsub.publish("lost", text(n.to_string())).await.err());
        unavailable(bus.log.append(&ann, text("lost"), "lost").await.err());
    }
    unavailable(bus.pubsub.request("served", text("?"), PATIENCE).await.err());
    unavailable(bus.pubsub.subscribe("lost").await.err());
    unavailable(bus.pubsub.fence().await.err());
    unavailable(bus.log.publish_ephemeral(&ann, text("lost")).await.err());
    unavailable(bus.log.read(&ann, 0, 1).await.err());
    unavailable(bus.log.get(1).await.err());
    unavailable(bus.log.newer(std::slice::from_ref(&ann), 0).await.err());
    unavailable(bus.log.beat().await.err());
    unavailable(bus.kv.get(Bucket::Groups, "before").await.err());
    unavailable(bus.kv.get_latest(Bucket::Groups, "before").await.err());
    unavailable(bus.kv.put(Bucket::Groups, "lost", text(""), None).await.err());
    unavailable(bus.kv.delete(Bucket::Groups, "lost").await.err());
    unavailable(bus.kv.select(Bucket::Groups, &["before".to_owned()]).await.err());
    unavailable(bus.kv.purge(Bucket::Groups, "before").await.err());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    server.start_again().await;
    node.reaches(BusState::Ready).await;
    assert_eq!(*bus.log.id().borrow(), id, "it is the same log");
    let after = bus.log.append(&ann, text("after"), "after").await.expect("appended");
    assert!(after.sequence > before.sequence);
    let copy = hear(&mut heard).await;
    assert_eq!(copy.payload, text("after"), "what failed was never sent later");
    assert_eq!(copy.stored.map(|stored| stored.previous), Some(before.sequence));
    bus.pubsub.publish("served", text("hello")).await.expect("published");
    let request = timeout(PATIENCE, served.next()).await.expect("it comes");
    assert_eq!(request.expect("the subscription lives").payload, text("hello"));
    put(bus, "after", "2").await;
    table
        .follow(&mut watch, "both stand", |table| table.current && table.keys.len() == 2)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_when_nats_died_fails_with_the_connection() {
    let (mut server, node) = started().await;
    let mut silent = node
        .bus
        .pubsub
        .queue_subscribe("silent", "q")
        .await
        .expect("subscribed");
    node.bus.pubsub.fence().await.expect("fenced");
    let pubsub = node.bus.pubsub.clone();
    let asked = tokio::spawn(async move { pubsub.request("silent", text("?"), PATIENCE * 4).await });
    let _taken = timeout(PATIENCE, silent.next()).await.expect("it comes");
    server.stop();
    let answer = timeout(PATIENCE, asked).await.expect("long before the deadline");
    assert!(matches!(answer, Ok(Err(BusError::Unavailable(_)))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_stream_is_another_log() {
    let (server, node) = started().await;
    let mut ids = node.bus.log.id();
    let first = ids.borrow_and_update().clone();
    node.bus
        .log
        .append(&Target::All, text("old"), "1")
        .await
        .expect("appended");
    let stream = names().log_stream();
    operator(&server).await.delete_stream(stream).await.expect("deleted");
    timeout(PATIENCE, ids.wait_for(|id| *id != first))
        .await
        .expect("the new log is noticed")
        .expect("the bus lives");
    node.reaches(BusState::Ready).await;
    let appended = node.bus.log.append(&Target::All, text("new"), "1").await;
    assert_eq!(appended.expect("appended").sequence, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_outlives_the_making_of_its_stream() {
    let (server, node) = started().await;
    let stream = names().log_stream();
    operator(&server).await.delete_stream(stream).await.expect("deleted");
    let appended = node.bus.log.append(&Target::All, text("now"), "1").await;
    assert_eq!(appended.expect("the append itself has it made again").sequence, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_bucket_resets_its_watches() {
    let (server, node) = started().await;
    let mut watch = watch(&node.bus, "").await;
    let mut table = Table::default();
    put(&node.bus, "old", "").await;
    table
        .follow(&mut watch, "it stands", |table| table.current && table.keys.len() == 1)
        .await;
    let stream = format!("KV_{}", names().bucket(Bucket::Groups.name()));
    operator(&server).await.delete_stream(stream).await.expect("deleted");
    until("the bucket is there again", async || {
        let put = node.bus.kv.put(Bucket::Groups, "new", text(""), None);
        put.await.is_ok()
    })
    .await;
    table
        .follow(&mut watch, "only the new one stands", |table| {
            table.current && table.keys.len() == 1 && table.keys.contains_key("new")
        })
        .await;
    assert!(table.resets > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provisioning_twice_changes_nothing_and_new_limits_are_taken_over() {
    let (server, node) = started().await;
    node.bus
        .log
        .append(&Target::All, text("kept"), "1")
        .await
        .expect("appended");
    let settings = async || {
        let stream = operator(&server).await.get_stream(names().log_stream()).await;
        stream.expect("the stream is there").cached_info().config.clone()
    };
    let before = settings().await;
    assert_eq!(before.num_replicas, 1, "a single server takes no more");
    let second = Node::start(config(server.url(), limits())).await;
    second.reaches(BusState::Ready).await;
    assert_eq!(settings().await, before);
    assert_eq!(*second.bus.log.id().borrow(), *node.bus.log.id().borrow());
    let fewer = LogLimits {
        max_messages_per_target: 7,
        max_age: Duration::from_secs(60),
        ..limits()
    };
    let third = Node::start(config(server.url(), fewer)).await;
    third.reaches(BusState::Ready).await;
    let after = settings().await;
    assert_eq!(
        (after.max_messages_per_subject, after.max_age),
        (7, Duration::from_secs(60))
    );
    assert_eq!(
        third
            .bus
            .log
            .read(&Target::All, 0, 10)
            .await
            .expect("read")
            .entries
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_waits_for_a_router_to_provision() {
    let server = NatsServer::start().await;
    let mut waiting = config(server.url(), limits());
    waiting.provision = false;
    let gateway = Node::start(waiting).await;
    until("it is connected", async || gateway.bus.pubsub.fence().await.is_ok()).await;
    assert_eq!(*gateway.bus.pubsub.state().borrow(), BusState::Starting);
    let router = Node::start(config(server.url(), limits())).await;
    router.reaches(BusState::Ready).await;
    gateway.reaches(BusState::Ready).await;
    assert_eq!(*gateway.bus.log.id().borrow(), *router.bus.log.id().borrow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_every_task_even_while_nats_is_away() {
    for away in [false, true] {
        let (mut server, node) = started().await;
        let (sink, mut heard) = recorder();
        let live = node.bus.log.subscribe(&Target::All, sink).await.expect("subscribed");
        let mut requests = node.bus.pubsub.subscribe("r").await.expect("subscribed");
        let mut watch = watch(&node.bus, "").await;
        if away {
            server.stop();
            node.reaches(BusState::Lost).await;
        }
        node.shutdown.cancel();
        node.tasks.close();
        timeout(PATIENCE, node.tasks.wait()).await.expect("all tasks end");
        assert!(requests.next().await.is_none());
        // A live subscription's task is its holder's.
        drop(live);
        assert!(heard.recv().await.is_none());
        while watch.next().await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hour_has_one_anchor_however_many_routers_beat() {
    let (server, first) = started().await;
    let second = Node::start(config(server.url(), limits())).await;
    second.reaches(BusState::Ready).await;
    for _ in 0..3 {
        for node in [&first, &second] {
            node.bus.log.beat().await.expect("it beats");
        }
    }
    let stream = operator(&server).await.get_stream(names().log_stream()).await;
    let stream = stream.expect("the log is there");
    let anchors = stream.info_with_subjects("test.log.0.anchor.>").await.expect("told");
    let anchors: Vec<(String, usize)> = anchors.try_collect().await.expect("told");
    // The hour may have changed meanwhile.
    assert!((1..=2).contains(&anchors.len()), "{anchors:?}");
    assert!(anchors.iter().all(|(_, count)| *count == 1), "{anchors:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_moves_the_bounds() {
    let (server, node) = started().await;
    let log = &node.bus.log;
    log.beat().await.expect("it beats");
    let gone = log
        .append(&Target::All, text("gone"), "1")
        .await
        .expect("appended")
        .sequence;
    assert_eq!(log.bounds().await.expect("told").first, 1);
    let stream = operator(&server).await.get_stream(names().log_stream()).await;
    stream.expect("the log is there").purge().await.expect("purged");
    log.beat().await.expect("it beats");
    assert!(log.bounds().await.expect("told").first > gone);
}
