//! Watches.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use herald_proto::id;
use herald_router::bus::{Bucket, Bus, KvEvent, Watch};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, text};

const BUCKET: Bucket = Bucket::Groups;

async fn next(watch: &mut Watch) -> KvEvent {
    let event = timeout(PATIENCE, watch.next()).await;
    event.expect("an event comes in time").expect("the watch lives")
}

/// That, and stored not long ago.
pub(crate) fn assert_put(event: Option<KvEvent>, key: &str, value: &str, revision: u64) {
    let Some(KvEvent::Put {
        key: of,
        value: put,
        revision: at,
        time,
    }) = event
    else {
        panic!("{event:?} is no put of {key}");
    };
    assert_eq!((&*of, &put, at), (key, &text(value), revision));
    let age = id::now_ms().abs_diff(time);
    assert!(age < 60_000, "{key} was stored {age} ms ago");
}

/// What a watcher makes of the events: the table of what stands.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) keys: BTreeMap<String, Bytes>,
    pub(crate) current: bool,
    pub(crate) resets: usize,
}

impl Table {
    pub(crate) fn take(&mut self, event: KvEvent) {
        match event {
            KvEvent::Put { key, value, .. } => {
                self.keys.insert(key, value);
            }
            KvEvent::Delete { key, .. } => {
                self.keys.remove(&key);
            }
            KvEvent::Current => self.current = true,
            KvEvent::Reset => {
                self.keys.clear();
                self.current = false;
                self.resets += 1;
            }
        }
    }

    pub(crate) async fn follow(&mut self, watch: &mut Watch, what: &str, holds: impl Fn(&Self) -> bool) {
        let followed = timeout(PATIENCE, async {
            while !holds(self) {
                self.take(watch.next().await.expect("the watch lives"));
            }
        });
        let followed = followed.await;
        let keys: Vec<&String> = self.keys.keys().take(5).collect();
        assert!(
            followed.is_ok(),
            "never came: {what}; {} keys: {keys:?} …",
            self.keys.len()
        );
    }
}

pub(crate) async fn put(bus: &Bus, key: &str, value: &str) -> u64 {
    bus.kv.put(BUCKET, key, text(value), None).await.expect("put")
}

pub(crate) async fn watch(bus: &Bus, prefix: &str) -> Watch {
    bus.kv.watch(BUCKET, prefix).await.expect("watched")
}

pub(crate) async fn an_empty_bucket_is_current_at_once(world: World) {
    let mut watch = watch(&world.bus, "").await;
    assert_eq!(next(&mut watch).await, KvEvent::Current);
    let revision = put(&world.bus, "a", "1").await;
    assert_put(watch.next().await, "a", "1", revision);
}

pub(crate) async fn what_stands_is_told_before_current_and_changes_after(world: World) {
    let bus = &world.bus;
    for (key, value) in [("a.1", "x"), ("a.2", "x"), ("b", "x"), ("a.1", "y"), ("gone", "x")] {
        put(bus, key, value).await;
    }
    bus.kv.delete(BUCKET, "gone").await.expect("deleted");
    let mut watch = watch(bus, "").await;
    let mut table = Table::default();
    table.follow(&mut watch, "current", |table| table.current).await;
    let expected = [("a.1", "y"), ("a.2", "x"), ("b", "x")];
    let expected: BTreeMap<String, Bytes> = expected.map(|(k, v)| (k.to_owned(), text(v))).into();
    assert_eq!(table.keys, expected);

    let revision = put(bus, "a.2", "z").await;
    assert_put(watch.next().await, "a.2", "z", revision);
    bus.kv.delete(BUCKET, "b").await.expect("deleted");
    let event = next(&mut watch).await;
    assert!(
        matches!(&event, KvEvent::Delete { key, revision: at, .. } if key == "b" && *at > revision),
        "{event:?}"
    );
}

pub(crate) async fn a_prefix_is_whole_tokens(world: World) {
    let bus = &world.bus;
    for key in ["u", "u.1", "u.1.x", "u2", "u2.1"] {
        put(bus, key, "").await;
    }
    let mut watch = watch(bus, "u").await;
    let mut table = Table::default();
    table.follow(&mut watch, "current", |table| table.current).await;
    assert_eq!(table.keys.keys().collect::<Vec<_>>(), ["u", "u.1", "u.1.x"]);
    put(bus, "u2.2", "").await;
    put(bus, "u.2", "").await;
    assert!(matches!(next(&mut watch).await, KvEvent::Put { key, .. } if key == "u.2"));
}

pub(crate) async fn an_expiry_is_seen(world: World) {
    let bus = &world.bus;
    let mut watch = watch(bus, "").await;
    let ttl = Some(Duration::from_secs(1));
    put(bus, "stays", "").await;
    bus.kv.put(BUCKET, "goes", text(""), ttl).await.expect("put");
    let mut table = Table::default();
    table
        .follow(&mut watch, "both stand", |table| table.keys.len() == 2)
        .await;
    table
        .follow(&mut watch, "one ran out", |table| table.keys.len() == 1)
        .await;
    assert!(table.keys.contains_key("stays"));
    assert_eq!(table.resets, 0);
    assert_eq!(bus.kv.get_latest(BUCKET, "goes").await, Ok(None));
}

pub(crate) async fn an_emptied_bucket_resets(world: World) {
    let bus = &world.bus;
    let mut table = Table::default();
    let mut watch = watch(bus, "").await;
    for round in 1..=2 {
        for key in ["a", "b", "c"] {
            put(bus, key, "old").await;
        }
        table
            .follow(&mut watch, "all stand", |table| table.current && table.keys.len() == 3)
            .await;
        world.purge(BUCKET).await;
        // One that is written at once after the purge does not hide it.
        put(bus, "new", "new").await;
        table
            .follow(&mut watch, "only the new one stands", |table| {
                table.current && table.keys.len() == 1 && table.keys.contains_key("new")
            })
            .await;
        assert_eq!(table.resets, round);
    }
    world.purge(BUCKET).await;
    table
        .follow(&mut watch, "nothing stands", |table| {
            table.current && table.keys.is_empty()
        })
        .await;
}

async fn put_many(bus: &Bus, keys: impl Iterator<Item = String>, value: &str) {
    let keys: Vec<String> = keys.collect();
    for some in keys.chunks(500) {
        join_all(some.iter().map(|key| put(bus, key, value))).await;
    }
}

pub(crate) async fn a_large_bucket_is_told_whole(world: World) {
    const KEYS: usize = 6_000;
    let bus = &world.bus;
    put_many(bus, (0..KEYS).map(|n| format!("u.{n}")), "1").await;
    let mut watch = watch(bus, "").await;
    let mut table = Table::default();
    table.follow(&mut watch, "current", |table| table.current).await;
    assert_eq!((table.keys.len(), table.resets), (KEYS, 0));
}

pub(crate) async fn a_slow_watcher_ends_with_the_truth(world: World) {
    const KEYS: usize = 1_500;
    let bus = &world.bus;
    let mut watch = watch(bus, "").await;
    // Nothing is read meanwhile, and far more is told than waits anywhere.
    put_many(bus, (0..KEYS).map(|n| n.to_string()), "old").await;
    put_many(bus, (0..KEYS).map(|n| n.to_string()), "new").await;
    let deletions = (0..KEYS / 2).map(|n| async move {
        bus.kv.delete(BUCKET, &n.to_string()).await.expect("deleted");
    });
    join_all(deletions).await;
    let mut table = Table::default();
    let truth = |table: &Table| {
        table.current && table.keys.len() == KEYS - KEYS / 2 && table.keys.values().all(|value| value == "new")
    };
    table.follow(&mut watch, "the truth", truth).await;
}
