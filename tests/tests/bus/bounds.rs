//! What the log says of what it has kept.

use std::time::Duration;

use herald_proto::Target;
use herald_router::bus::LogLimits;

use crate::world::{World, beating, limits, until};

pub(crate) async fn a_full_target_moves_no_bounds(world: World) {
    let limits = LogLimits {
        max_messages_per_target: 5,
        ..limits()
    };
    let world = world.again_with(limits).await;
    let (full, log) = (Target::user("full"), &world.bus.log);
    log.beat().await.expect("it beats");
    let mut last = 0;
    for n in 0..20 {
        last = world.append(&full, "", &n.to_string()).await.sequence;
        log.beat().await.expect("it beats");
    }
    until("the oldest go", async || {
        let entries = log.read(&full, 0, 100).await.expect("read").entries;
        entries.len() == 5 && entries[4].sequence == last
    })
    .await;
    let bounds = log.bounds().await.expect("told");
    assert_eq!((bounds.first, bounds.per_target), (1, 5));
}

pub(crate) async fn age_moves_the_bounds(world: World) {
    let limits = LogLimits {
        max_age: Duration::from_secs(1),
        ..limits()
    };
    let world = world.again_with(limits).await;
    let _beating = beating(&world.bus);
    let gone = world.append(&Target::user("ann"), "", "1").await.sequence;
    until("it is too old", async || {
        world.bus.log.bounds().await.expect("told").first > gone
    })
    .await;
}

pub(crate) async fn want_of_room_moves_the_bounds(world: World) {
    let limits = LogLimits {
        max_bytes: 256 << 10,
        ..limits()
    };
    let world = world.again_with(limits).await;
    world.bus.log.beat().await.expect("it beats");
    let mut appended = Vec::new();
    for n in 0..100_usize {
        // Each target has one message: none is trimmed by count.
        let (target, id) = (Target::user(n.to_string()), n.to_string());
        appended.push(world.append(&target, &"x".repeat(8 << 10), &id).await.sequence);
    }
    until("the oldest went", async || {
        world.bus.log.bounds().await.expect("told").first > appended[50]
    })
    .await;
    assert!(world.bus.log.bounds().await.expect("told").first <= appended[99]);
}

pub(crate) async fn the_end_is_certain_and_found_by_time(world: World) {
    let (log, ann) = (&world.bus.log, Target::user("ann"));
    let first = world.append(&ann, "", "1").await.sequence;
    let then = log.bounds().await.expect("told");
    assert_eq!(then.last, first);
    let stored = log.get(first).await.expect("read").expect("it is there");
    assert_eq!(then.last_ms, stored.time_ms);
    assert_eq!(log.first_since(then.last_ms + 1).await, Ok(None));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = world.append(&ann, "", "2").await.sequence;
    assert_eq!(log.bounds().await.expect("told").last, second);
    assert_eq!(log.first_since(then.last_ms).await, Ok(Some(first)));
    assert_eq!(log.first_since(then.last_ms + 1).await, Ok(Some(second)));
}
