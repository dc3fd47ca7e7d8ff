//! The log and its live copies.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use herald_proto::Target;
use herald_router::bus::{Appended, LogEntry, LogLimits, Page};

use crate::world::{World, beating, hear, limits, recorder, text, until};

const ODD_IDS: [&str; 12] = [
    "a.b",
    "a",
    "a b",
    "*",
    ">",
    "a.*",
    "小明",
    "=2E",
    "A",
    "$JS",
    "a=2Eb",
    "\u{1F600}.\n\0",
];

impl World {
    pub(crate) async fn append(&self, target: &Target, payload: &str, dedup: &str) -> Appended {
        let appended = self.bus.log.append(target, text(payload), dedup).await;
        appended.expect("appended")
    }

    /// All of a target. Waits for a replica that lags.
    pub(crate) async fn all(&self, target: &Target, count: usize) -> Vec<LogEntry> {
        let mut entries = Vec::new();
        until("all messages are read", async || {
            entries = self.bus.log.read(target, 0, usize::MAX).await.expect("read").entries;
            entries.len() >= count
        })
        .await;
        entries
    }
}

pub(crate) fn sequences(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

pub(crate) async fn every_target_has_one_order_under_concurrency(world: World) {
    const WRITERS: usize = 8;
    const EACH: usize = 60;
    let log = &world.bus.log;
    let targets = [Target::user("a"), Target::user("b"), Target::group("a"), Target::All];
    let mut ends = Vec::new();
    for target in &targets {
        let (sink, heard) = recorder();
        let subscription = log.subscribe(target, sink).await.expect("subscribed");
        ends.push((subscription, heard));
    }
    world.bus.pubsub.fence().await.expect("fenced");
    let writers = (0..WRITERS).map(|writer| {
        let (world, targets) = (&world, &targets);
        async move {
            let mut acked = Vec::new();
            for n in 0..EACH {
                let target = &targets[(writer + n) % targets.len()];
                let id = format!("{writer}.{n}");
                acked.push(world.append(target, &id, &id).await.sequence);
            }
            acked
        }
    });
    let acked = join_all(writers).await;
    for own in &acked {
        assert!(own.is_sorted(), "one writer's appends ascend");
    }
    let distinct: HashSet<u64> = acked.iter().flatten().copied().collect();
    assert_eq!(distinct.len(), WRITERS * EACH, "each has a sequence of its own");

    for (target, (_subscription, heard)) in targets.iter().zip(&mut ends) {
        let entries = world.all(target, WRITERS * EACH / targets.len()).await;
        assert_eq!(entries.len(), WRITERS * EACH / targets.len());
        assert!(sequences(&entries).is_sorted());
        let mut previous = 0;
        for entry in &entries {
            let copy = hear(heard).await;
            let stored = copy.stored.expect("stored");
            assert_eq!(
                stored.sequence, entry.sequence,
                "{target:?} is heard in the log's order"
            );
            assert_eq!(stored.previous, previous);
            assert_eq!(stored.time_ms, entry.time_ms);
            assert_eq!(copy.payload, entry.payload);
            previous = entry.sequence;
        }
    }
}

pub(crate) async fn live_copies_tell_what_came_before(world: World) {
    let (ann, bob) = (Target::user("ann"), Target::user("bob"));
    let (sink, mut heard) = recorder();
    let early = world.append(&ann, "before anybody listens", "0").await;
    let _subscription = world.bus.log.subscribe(&ann, sink).await.expect("subscribed");
    world.bus.pubsub.fence().await.expect("fenced");
    let first = world.append(&ann, "first", "1").await;
    let other = world.append(&bob, "other", "2").await;
    let second = world.append(&ann, "second", "3").await;
    assert!(early.sequence < first.sequence && first.sequence < other.sequence && other.sequence < second.sequence);
    for (payload, at, previous) in [
        ("first", first.sequence, early.sequence),
        ("second", second.sequence, first.sequence),
    ] {
        let copy = hear(&mut heard).await;
        let stored = copy.stored.expect("stored");
        assert_eq!(
            (copy.payload, stored.sequence, stored.previous),
            (text(payload), at, previous)
        );
        let got = world.bus.log.get(at).await.expect("got").expect("it is there");
        assert_eq!(
            (got.payload, got.sequence, got.time_ms),
            (text(payload), at, stored.time_ms)
        );
    }
    assert_eq!(world.bus.log.get(second.sequence + 1_000).await, Ok(None));
}

pub(crate) async fn a_retry_is_stored_once(world: World) {
    let (ann, bob) = (Target::user("ann"), Target::user("bob"));
    let (sink, mut heard) = recorder();
    let _subscription = world.bus.log.subscribe(&ann, sink).await.expect("subscribed");
    world.bus.pubsub.fence().await.expect("fenced");
    let first = world.append(&ann, "once", "key").await;
    assert!(!first.duplicate && !first.uncertain);
    for _ in 0..3 {
        let again = world.append(&ann, "twice", "key").await;
        assert_eq!(
            (again.sequence, again.duplicate, again.uncertain),
            (first.sequence, true, true)
        );
    }
    assert!(!world.append(&bob, "else", "key of bob").await.duplicate);
    let end = world.append(&ann, "end", "key 2").await;
    assert_eq!(hear(&mut heard).await.payload, text("once"));
    assert_eq!(hear(&mut heard).await.payload, text("end"), "nothing in between");
    let entries = world.all(&ann, 2).await;
    assert_eq!(sequences(&entries), [first.sequence, end.sequence]);
}

pub(crate) async fn a_target_keeps_its_newest(world: World) {
    let limits = LogLimits {
        max_messages_per_target: 5,
        ..limits()
    };
    let world = world.again_with(limits).await;
    let (full, calm) = (Target::user("full"), Target::user("calm"));
    let kept = world.append(&calm, "kept", "calm").await.sequence;
    let mut appended = Vec::new();
    for n in 0..20 {
        appended.push(world.append(&full, "", &n.to_string()).await.sequence);
    }
    until("the oldest go", async || {
        let read = world.bus.log.read(&full, 0, 100).await.expect("read").entries;
        sequences(&read) == appended[15..]
    })
    .await;
    assert_eq!(sequences(&world.all(&calm, 1).await), [kept]);
    assert_eq!(world.bus.log.get(appended[0]).await, Ok(None));
}

pub(crate) async fn what_is_too_old_goes(world: World) {
    let limits = LogLimits {
        max_age: Duration::from_secs(1),
        ..limits()
    };
    let world = world.again_with(limits).await;
    let ann = Target::user("ann");
    let _beating = beating(&world.bus);
    let first = world.append(&ann, "old", "1").await.sequence;
    until("it is too old", async || {
        world.bus.log.read(&ann, 0, 10).await.expect("read").entries.is_empty()
    })
    .await;
    assert_eq!(world.bus.log.get(first).await, Ok(None));
    assert!(world.append(&ann, "new", "2").await.sequence > first, "sequences go on");
}

pub(crate) async fn newer_names_what_is_newer(world: World) {
    let log = &world.bus.log;
    // More than the server answers for at once.
    let targets: Vec<Target> = (0..2_500).map(|n| Target::user(n.to_string())).collect();
    let _beating = beating(&world.bus);
    for n in [3, 1_200, 2_499] {
        world.append(&targets[n], "old", &format!("old {n}")).await;
    }
    let mark = world.append(&targets[1_200], "mark", "mark").await.sequence;
    let mut expected = Vec::new();
    for n in [0, 1_200, 2_400] {
        let appended = world.append(&targets[n], "new", &format!("new {n}")).await;
        expected.push((targets[n].clone(), appended.sequence));
    }
    let last = expected[2].1;
    until("the answer holds for the last append", async || {
        let mut newer = log.newer(&targets, mark).await.expect("answered");
        newer.targets.sort_by_key(|(_, sequence)| *sequence);
        newer.upto >= last && newer.targets == expected
    })
    .await;
    until("nothing is newer than the last", async || {
        let newer = log.newer(&targets, last).await.expect("answered");
        assert_eq!(newer.targets, []);
        newer.upto >= last
    })
    .await;
    until("an answer about nobody has an upto", async || {
        let newer = log.newer(&[], last).await.expect("answered");
        newer.targets.is_empty() && newer.upto >= last
    })
    .await;
}

pub(crate) async fn ephemeral_messages_are_not_stored(world: World) {
    let (room, log) = (Target::group("room"), &world.bus.log);
    let (sink, mut heard) = recorder();
    let _subscription = log.subscribe(&room, sink).await.expect("subscribed");
    world.bus.pubsub.fence().await.expect("fenced");
    for n in 0..10 {
        let sent = log.publish_ephemeral(&room, text(n.to_string())).await;
        sent.expect("sent");
    }
    for n in 0..10 {
        let copy = hear(&mut heard).await;
        assert_eq!((copy.payload, copy.stored), (text(n.to_string()), None));
    }
    assert_eq!(log.read(&room, 0, 10).await, Ok(Page::default()));
}

pub(crate) async fn ids_of_any_kind_are_kept_apart(world: World) {
    let log = &world.bus.log;
    let targets: Vec<Target> = ODD_IDS
        .iter()
        .flat_map(|id| [Target::user(*id), Target::group(*id)])
        .collect();
    let mut subscriptions = Vec::new();
    for target in &targets {
        let (sink, heard) = recorder();
        subscriptions.push((log.subscribe(target, sink).await.expect("subscribed"), heard));
    }
    world.bus.pubsub.fence().await.expect("fenced");
    for (n, target) in targets.iter().enumerate() {
        world.append(target, &n.to_string(), &n.to_string()).await;
    }
    for (n, (target, (_subscription, heard))) in targets.iter().zip(&mut subscriptions).enumerate() {
        assert_eq!(hear(heard).await.payload, text(n.to_string()), "{target:?}");
        let entries = world.all(target, 1).await;
        assert_eq!(entries.len(), 1, "{target:?} has its own only");
        assert_eq!(entries[0].payload, text(n.to_string()));
        assert!(heard.try_recv().is_err(), "{target:?} hears its own only");
    }
    let newer = log.newer(&targets, 0).await.expect("answered");
    let named: HashSet<Target> = newer.targets.into_iter().map(|(target, _)| target).collect();
    assert_eq!(named, targets.into_iter().collect());
}

pub(crate) async fn a_dropped_subscription_is_silent(world: World) {
    let (ann, log) = (Target::user("ann"), &world.bus.log);
    let (sink, mut dropped) = recorder();
    let (other, mut kept) = recorder();
    let first = log.subscribe(&ann, sink).await.expect("subscribed");
    let _second = log.subscribe(&ann, other).await.expect("subscribed");
    world.bus.pubsub.fence().await.expect("fenced");
    world.append(&ann, "1", "1").await;
    assert_eq!(hear(&mut dropped).await.payload, text("1"));
    drop(first);
    // The sink goes with its subscription: then nothing can come any more.
    assert_eq!(dropped.recv().await, None);
    world.append(&ann, "2", "2").await;
    for n in ["1", "2"] {
        assert_eq!(hear(&mut kept).await.payload, text(n));
    }
}

pub(crate) async fn two_sinks_of_one_target_both_hear(world: World) {
    let (all, log) = (Target::All, &world.bus.log);
    let (one, mut first) = recorder();
    let (two, mut second) = recorder();
    let _one = log.subscribe(&all, one).await.expect("subscribed");
    let _two = log.subscribe(&all, two).await.expect("subscribed");
    world.bus.pubsub.fence().await.expect("fenced");
    world.append(&all, "hello", "1").await;
    assert_eq!(hear(&mut first).await, hear(&mut second).await);
}
