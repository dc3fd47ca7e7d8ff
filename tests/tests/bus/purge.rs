//! Deleting what is stored for one target.

use herald_proto::Target;

use crate::{
    log::sequences,
    world::{World, hear, recorder, until},
};

pub(crate) async fn a_purge_takes_one_targets_past_and_nothing_else(world: World) {
    let log = &world.bus.log;
    let [ann, bob] = ["ann", "bob"].map(Target::user);
    log.beat().await.expect("it beats");
    let mut of_ann = Vec::new();
    for n in 0..6 {
        of_ann.push(world.append(&ann, "a", &format!("a{n}")).await.sequence);
        world.append(&bob, "b", &format!("b{n}")).await;
    }
    assert_eq!(log.last(&ann).await, Ok(of_ann.last().copied()));
    assert_eq!(log.last(&Target::All).await, Ok(None));
    let before = log.bounds().await.expect("told");
    assert_eq!(log.purge(&ann, of_ann[3]).await, Ok(4));
    assert_eq!(log.purge(&ann, of_ann[3]).await, Ok(0));
    until("only the last stand", async || {
        let left = log.read(&ann, 0, 100).await.expect("read").entries;
        sequences(&left) == of_ann[4..]
    })
    .await;
    assert_eq!(world.all(&bob, 6).await.len(), 6);
    let after = log.bounds().await.expect("told");
    assert_eq!(
        (before.first, before.last),
        (after.first, after.last),
        "to others nothing is gone"
    );
    assert_eq!(log.purge(&ann, u64::MAX).await, Ok(2));
    assert_eq!(log.last(&ann).await, Ok(None));
    assert_eq!(log.get(of_ann[5]).await, Ok(None));
}

pub(crate) async fn what_comes_after_a_purge_joins_on(world: World) {
    let (log, ann) = (&world.bus.log, Target::user("ann"));
    let (sink, mut heard) = recorder();
    let _subscription = log.subscribe(&ann, sink).await.expect("subscribed");
    world.bus.pubsub.fence().await.expect("fenced");
    let first = world.append(&ann, "1", "1").await.sequence;
    let second = world.append(&ann, "2", "2").await.sequence;
    log.purge(&ann, first).await.expect("purged");
    let third = world.append(&ann, "3", "3").await.sequence;
    let mut previous = Vec::new();
    for _ in 0..3 {
        let stored = hear(&mut heard).await.stored.expect("stored");
        previous.push((stored.previous, stored.sequence));
    }
    assert_eq!(previous, [(0, first), (first, second), (second, third)]);
}
