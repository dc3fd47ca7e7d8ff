//! What happened, in one order of all.

use std::time::Duration;

use herald_proto::id;

use crate::world::{World, names, text, until};

async fn publish(world: &World, kind: &str, id: &str) {
    world.bus.events.publish(kind, id, text(id)).await.expect("published");
}

/// All that is kept, as ids with their kinds.
async fn all(world: &World) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = world.bus.events.read(after, 7).await.expect("read");
        let Some(last) = page.last() else { return found };
        after = last.sequence;
        let named = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
        found.extend(page.iter().map(|event| (event.kind.clone(), named(&event.payload))));
    }
}

pub(crate) async fn events_come_back_in_their_one_order(world: World) {
    let kinds = ["online", "offline", "group"];
    let mut expected = Vec::new();
    for n in 0..30 {
        let (kind, id) = (kinds[n % 3], n.to_string());
        publish(&world, kind, &id).await;
        expected.push((kind.to_owned(), id));
    }
    until("all are read", async || all(&world).await == expected).await;
    let bounds = world.bus.events.bounds().await.expect("told");
    assert_eq!((bounds.first, bounds.last), (1, 30));
    world
        .bus
        .events
        .park("hook", "1", text("parked"))
        .await
        .expect("parked");
    assert_eq!(all(&world).await.len(), 30, "what is parked is not among them");
}

pub(crate) async fn an_event_that_is_published_again_is_stored_once(world: World) {
    for _ in 0..3 {
        publish(&world, "online", "a").await;
        publish(&world, "online", "b").await;
    }
    assert_eq!(world.bus.events.bounds().await.expect("told").last, 2);
}

pub(crate) async fn subscribers_hear_events_by_kind(world: World) {
    let pubsub = &world.bus.pubsub;
    let mut online = pubsub.subscribe(&names().event("online")).await.expect("subscribed");
    let mut any = pubsub.subscribe(&names().event(">")).await.expect("subscribed");
    pubsub.fence().await.expect("fenced");
    publish(&world, "offline", "a").await;
    publish(&world, "online", "b").await;
    let heard = online.next().await.expect("one");
    assert_eq!(heard.payload, text("b"));
    assert_eq!(any.next().await.expect("one").payload, text("a"));
    assert_eq!(any.next().await.expect("another").payload, text("b"));
}

pub(crate) async fn the_first_event_since_a_time_is_found(world: World) {
    let events = &world.bus.events;
    assert_eq!(events.first_since(0).await, Ok(None));
    publish(&world, "online", "a").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let between = id::now_ms();
    assert_eq!(events.first_since(between).await, Ok(None));
    publish(&world, "online", "b").await;
    assert_eq!(events.first_since(between).await, Ok(Some(2)));
    assert_eq!(events.first_since(between - 3_600_000).await, Ok(Some(1)));
}
