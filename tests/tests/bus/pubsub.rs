//! Requests and messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use herald_proto::Target;
use herald_router::bus::{Bucket, BusError, Headers, Message, PubSub, Requests};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, text};

async fn next(requests: &mut Requests) -> (String, Bytes) {
    let request = timeout(PATIENCE, requests.next()).await;
    let request = request
        .expect("a message comes in time")
        .expect("the subscription lives");
    (request.subject, request.payload)
}

/// Answers every request with `name`; how many it was is counted.
async fn serve(mut requests: Requests, name: String, count: Arc<AtomicUsize>) {
    while let Some(request) = requests.next().await {
        count.fetch_add(1, Ordering::SeqCst);
        request
            .reply
            .send(text(name.clone()))
            .await
            .expect("the answer is sent");
    }
}

pub(crate) async fn wildcards_reach_who_asked_for_them(world: World) {
    let bus = &world.bus.pubsub;
    let mut exact = bus.subscribe("t.a.b").await.expect("subscribed");
    let mut star = bus.subscribe("t.*.b").await.expect("subscribed");
    let mut rest = bus.subscribe("t.>").await.expect("subscribed");
    bus.fence().await.expect("fenced");
    for subject in ["t.x", "t.c.b", "t.a.b", "u.a.b"] {
        bus.publish(subject, text(subject)).await.expect("published");
    }
    assert_eq!(next(&mut exact).await, ("t.a.b".to_owned(), text("t.a.b")));
    for subject in ["t.c.b", "t.a.b"] {
        assert_eq!(next(&mut star).await.0, subject);
    }
    for subject in ["t.x", "t.c.b", "t.a.b"] {
        assert_eq!(next(&mut rest).await.0, subject);
    }
}

pub(crate) async fn messages_come_in_order(world: World) {
    let bus = &world.bus.pubsub;
    let mut all = bus.subscribe("o.*").await.expect("subscribed");
    bus.fence().await.expect("fenced");
    for n in 0..500 {
        bus.publish("o.n", text(n.to_string())).await.expect("published");
    }
    for n in 0..500 {
        assert_eq!(next(&mut all).await.1, text(n.to_string()));
    }
}

pub(crate) async fn a_queue_group_shares_requests(world: World) {
    let bus = &world.bus.pubsub;
    let counts: Vec<Arc<AtomicUsize>> = (0..3).map(|_| Arc::default()).collect();
    for (n, count) in counts.iter().enumerate() {
        let requests = bus.queue_subscribe("q.work", "workers").await.expect("subscribed");
        tokio::spawn(serve(requests, n.to_string(), count.clone()));
    }
    bus.fence().await.expect("fenced");
    for _ in 0..90 {
        bus.request("q.work", text("?"), PATIENCE).await.expect("answered");
    }
    let counts: Vec<usize> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert_eq!(counts.iter().sum::<usize>(), 90, "each to one member: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "spread over all: {counts:?}");
}

pub(crate) async fn plain_subscribers_see_requests_too(world: World) {
    let bus = &world.bus.pubsub;
    let mut listener = bus.subscribe("s.>").await.expect("subscribed");
    let server = bus.queue_subscribe("s.ask", "servers").await.expect("subscribed");
    tokio::spawn(serve(server, "answer".to_owned(), Arc::default()));
    bus.fence().await.expect("fenced");
    let answer = bus.request("s.ask", text("question"), PATIENCE).await;
    assert_eq!(answer, Ok(text("answer")));
    assert_eq!(next(&mut listener).await, ("s.ask".to_owned(), text("question")));
}

pub(crate) async fn no_responder_is_told_at_once(world: World) {
    let bus = &world.bus.pubsub;
    let ask = || bus.request("nobody.here", text("?"), PATIENCE);
    let began = Instant::now();
    assert_eq!(ask().await, Err(BusError::NoResponders));
    let served = bus.queue_subscribe("nobody.here", "q").await.expect("subscribed");
    drop(served);
    until_unserved(bus.as_ref()).await;
    assert!(began.elapsed() < PATIENCE / 2, "no deadline was waited for");
}

/// Unsubscribing takes a moment to reach the server.
async fn until_unserved(bus: &dyn PubSub) {
    crate::world::until("the subject is not served any more", async || {
        let asked = bus.request("nobody.here", text("?"), Duration::from_millis(200));
        asked.await == Err(BusError::NoResponders)
    })
    .await;
}

pub(crate) async fn a_deadline_is_kept(world: World) {
    let bus = &world.bus.pubsub;
    let mut silent = bus.queue_subscribe("silent", "q").await.expect("subscribed");
    tokio::spawn(async move { while silent.next().await.is_some() {} });
    bus.fence().await.expect("fenced");
    let began = Instant::now();
    let asked = bus.request("silent", text("?"), Duration::from_millis(300)).await;
    assert_eq!(asked, Err(BusError::Timeout));
    assert!(began.elapsed() >= Duration::from_millis(290));
}

pub(crate) async fn requests_under_way_come_after_unsubscribing(world: World) {
    let bus = &world.bus.pubsub;
    let mut requests = bus.queue_subscribe("leaving", "q").await.expect("subscribed");
    bus.fence().await.expect("fenced");
    for n in 0..50 {
        bus.publish("leaving", text(n.to_string())).await.expect("published");
    }
    bus.fence().await.expect("fenced");
    requests.unsubscribe().await;
    for n in 0..50 {
        assert_eq!(next(&mut requests).await.1, text(n.to_string()));
    }
    let end = timeout(PATIENCE, requests.next()).await;
    assert!(end.expect("it ends").is_none());
    let asked = bus.request("leaving", text("?"), PATIENCE).await;
    assert_eq!(asked, Err(BusError::NoResponders));
}

pub(crate) async fn too_large_is_refused(world: World) {
    let (bus, large) = (&world.bus, Bytes::from(vec![0; 4 << 20]));
    let (everyone, key) = (Target::All, "key");
    let published = bus.pubsub.publish("large", large.clone()).await;
    assert_eq!(published, Err(BusError::TooLarge));
    let asked = bus.pubsub.request("large", large.clone(), PATIENCE).await;
    assert_eq!(asked, Err(BusError::TooLarge));
    let appended = bus.log.append(&everyone, large.clone(), "large").await;
    assert_eq!(appended, Err(BusError::TooLarge));
    let sent = bus.log.publish_ephemeral(&everyone, large.clone()).await;
    assert_eq!(sent, Err(BusError::TooLarge));
    let put = bus.kv.put(Bucket::Sessions, key, large, None).await;
    assert_eq!(put, Err(BusError::TooLarge));
}

pub(crate) async fn a_call_carries_headers_both_ways(world: World) {
    let bus = &world.bus.pubsub;
    let mut requests = bus.queue_subscribe("svc.echo", "q").await.expect("subscribed");
    let sent: Headers = [("Herald-User", "%E5%B0%8F"), ("X", "a: b"), ("X", "c")]
        .into_iter()
        .collect();
    let expected = sent.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let values = |headers: &Headers, name: &str| -> Vec<String> {
                let of_name = headers.iter().filter(|(key, _)| *key == name);
                of_name.map(|(_, value)| value.to_owned()).collect()
            };
            for name in ["Herald-User", "X"] {
                assert_eq!(values(&request.headers, name), values(&expected, name), "{name}");
            }
            let headers = [("Herald-Msg-Id", "7")].into_iter().collect();
            let payload = request.payload;
            let sent = request.reply.send_message(Message { headers, payload }).await;
            sent.expect("the answer is sent");
        }
    });
    bus.fence().await.expect("fenced");
    let message = Message {
        headers: sent,
        payload: text("roll"),
    };
    let answer = bus.call("svc.echo", message, PATIENCE).await.expect("answered");
    assert_eq!(answer.payload, text("roll"));
    assert_eq!(answer.headers.get("herald-msg-id"), Some("7"));
}

pub(crate) async fn a_call_that_nobody_serves_is_told_at_once(world: World) {
    let bus = &world.bus.pubsub;
    let began = Instant::now();
    let asked = bus.call("svc.nobody", text("?").into(), PATIENCE).await;
    assert_eq!(asked, Err(BusError::NoResponders));
    assert!(began.elapsed() < PATIENCE / 2, "no deadline was waited for");
}

/// Late and doubled answers are nobody's: each call gets its own.
pub(crate) async fn late_and_doubled_answers_disturb_nobody(world: World) {
    let bus = &world.bus.pubsub;
    // Two answer everything; one of them only when the askers have gone.
    for _ in 0..2 {
        let requests = bus.subscribe("svc.double").await.expect("subscribed");
        tokio::spawn(async move {
            let mut requests = requests;
            while let Some(request) = requests.next().await {
                let payload = request.payload;
                tokio::spawn(async move {
                    if payload == text("late") {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    // The other's came first, or nobody waits.
                    let _ = request.reply.send(payload).await;
                });
            }
        });
    }
    bus.fence().await.expect("fenced");
    for n in 0..200 {
        if n % 10 == 0 {
            let late = bus
                .call("svc.double", text("late").into(), Duration::from_millis(20))
                .await;
            assert_eq!(late, Err(BusError::Timeout));
            let dropped = bus.call("svc.double", text("late").into(), PATIENCE);
            assert!(
                timeout(Duration::from_millis(20), dropped).await.is_err(),
                "dropped midway"
            );
        }
        let question = text(n.to_string());
        let answer = bus.call("svc.double", question.clone().into(), PATIENCE).await;
        assert_eq!(answer.map(|answer| answer.payload), Ok(question));
    }
}

pub(crate) async fn a_call_keeps_its_deadline_and_its_size(world: World) {
    let bus = &world.bus.pubsub;
    let mut silent = bus.queue_subscribe("svc.silent", "q").await.expect("subscribed");
    tokio::spawn(async move { while silent.next().await.is_some() {} });
    bus.fence().await.expect("fenced");
    let asked = bus
        .call("svc.silent", text("?").into(), Duration::from_millis(200))
        .await;
    assert_eq!(asked, Err(BusError::Timeout));
    let large = Bytes::from(vec![0; 4 << 20]);
    let asked = bus.call("svc.silent", large.into(), PATIENCE).await;
    assert_eq!(asked, Err(BusError::TooLarge));
    // A body that only just fits has no room left for headers.
    let full = Message {
        headers: [("A", "x".repeat(100))].into_iter().collect(),
        payload: Bytes::from(vec![0; bus.max_payload() - 50]),
    };
    let asked = bus.call("svc.silent", full, PATIENCE).await;
    assert_eq!(asked, Err(BusError::TooLarge));
    for (name, value) in [("A", "x\r\nB: y"), ("A\nB", "x"), ("", "x")] {
        let message = Message {
            headers: [(name, value)].into_iter().collect(),
            payload: Bytes::new(),
        };
        let asked = bus.call("svc.silent", message, PATIENCE).await;
        assert!(
            matches!(asked, Err(BusError::Refused(_))),
            "{name:?} {value:?}: {asked:?}"
        );
    }
}

pub(crate) async fn an_answer_that_is_too_large_is_refused_to_whoever_gives_it(world: World) {
    let bus = &world.bus.pubsub;
    let mut requests = bus.queue_subscribe("svc.large", "q").await.expect("subscribed");
    let served = tokio::spawn(async move {
        let request = requests.next().await.expect("a request");
        request.reply.send(Bytes::from(vec![0; 4 << 20])).await
    });
    bus.fence().await.expect("fenced");
    let asked = bus
        .call("svc.large", text("?").into(), Duration::from_millis(300))
        .await;
    assert_eq!(asked, Err(BusError::Timeout));
    assert_eq!(served.await.expect("it ends"), Err(BusError::TooLarge));
}
