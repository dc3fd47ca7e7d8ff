//! Many keys at once, and their removal.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use herald_router::bus::{Bucket, Bus, Selection};
use tokio::{sync::watch, time::timeout};

use crate::{
    watch::{Table, assert_put, put, watch as watched},
    world::{World, text, until},
};

const BUCKET: Bucket = Bucket::Groups;

async fn select(bus: &Bus, prefixes: &[&str]) -> Selection {
    let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
    bus.kv.select(BUCKET, &prefixes).await.expect("selected")
}

/// Selects until `upto` is reached: replicas may lag. The keys with their revisions; none is there twice.
async fn selected(bus: &Bus, prefixes: &[&str], upto: u64) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    until("the replicas have it", async || {
        let selection = select(bus, prefixes).await;
        let count = selection.entries.len();
        let entries = selection.entries.into_iter();
        found = entries.map(|(key, entry)| (key, entry.revision)).collect();
        assert_eq!(found.len(), count, "a key is there twice");
        selection.upto >= upto
    })
    .await;
    found
}

async fn put_all(bus: &Bus, keys: Vec<String>, value: &Bytes) {
    for some in keys.chunks(500) {
        let puts = some.iter().map(|key| bus.kv.put(BUCKET, key, value.clone(), None));
        for put in join_all(puts).await {
            put.expect("put");
        }
    }
}

pub(crate) async fn a_selection_takes_whole_tokens(world: World) {
    let bus = &world.bus;
    let mut revisions = HashMap::new();
    for key in ["u", "u.1", "u.1.x", "u2", "u2.1", "v.1", "w", "u.1"] {
        revisions.insert(key, put(bus, key, key).await);
    }
    let last = revisions["u.1"];
    for (prefixes, expected) in [
        (&["u"][..], &["u", "u.1", "u.1.x"][..]),
        (&["u.1"], &["u.1", "u.1.x"]),
        (&["v", "nobody", "w", "u2"], &["u2", "u2.1", "v.1", "w"]),
        // One within another.
        (&["u", "u.1", "u"], &["u", "u.1", "u.1.x"]),
        (&[""], &["u", "u.1", "u.1.x", "u2", "u2.1", "v.1", "w"]),
    ] {
        let expected: BTreeMap<String, u64> = expected.iter().map(|key| ((*key).to_owned(), revisions[key])).collect();
        assert_eq!(selected(bus, prefixes, last).await, expected, "{prefixes:?}");
    }
    let selection = select(bus, &["v"]).await;
    assert_eq!(selection.entries[0].1.value, text("v.1"));
}

pub(crate) async fn a_selection_lacks_what_was_deleted_or_ran_out(world: World) {
    let bus = &world.bus;
    let ttl = Some(Duration::from_secs(1));
    put(bus, "u.deleted", "").await;
    bus.kv.put(BUCKET, "u.expired", text(""), ttl).await.expect("put");
    put(bus, "u.purged", "").await;
    bus.kv.delete(BUCKET, "u.deleted").await.expect("deleted");
    bus.kv.purge(BUCKET, "*.purged").await.expect("purged");
    until("it runs out", async || {
        bus.kv.get_latest(BUCKET, "u.expired").await == Ok(None)
    })
    .await;
    let last = put(bus, "u.stays", "").await;
    let expected = BTreeMap::from([("u.stays".to_owned(), last)]);
    assert_eq!(selected(bus, &["u"], last).await, expected);
}

pub(crate) async fn a_selection_of_nothing_tells_no_upto(world: World) {
    let bus = &world.bus;
    let nothing = Selection {
        entries: Vec::new(),
        upto: 0,
    };
    assert_eq!(select(bus, &[]).await, nothing);
    assert_eq!(select(bus, &["nobody"]).await, nothing);
    let last = put(bus, "beat", "").await;
    assert_eq!(select(bus, &["nobody"]).await, nothing);
    assert_eq!(selected(bus, &["nobody", "beat"], last).await.len(), 1);
}

/// Of four thousand users most have nothing; only the last prefix surely matches.
pub(crate) async fn thousands_of_prefixes_are_selected(world: World) {
    const USERS: usize = 4_000;
    let bus = &world.bus;
    let keys = (1_000..1_700).flat_map(|n| (0..3).map(move |device| format!("u.{n}.{device}")));
    put_all(bus, keys.collect(), &text("1")).await;
    let last = put(bus, "beat", "").await;
    let users: Vec<String> = (0..USERS).map(|n| format!("u.{n}")).collect();
    let prefixes: Vec<&str> = users.iter().map(String::as_str).chain(["beat"]).collect();
    let found = selected(bus, &prefixes, last).await;
    assert_eq!(found.len(), 700 * 3 + 1);
}

/// More than one answer of NATS holds, be it by number or by size.
pub(crate) async fn a_prefix_may_have_thousands_of_keys(world: World) {
    let bus = &world.bus;
    put(bus, "g", "itself").await;
    put_all(bus, (0..2_500).map(|n| format!("g.{n}")).collect(), &text("1")).await;
    let large = Bytes::from(vec![b'x'; 100_000]);
    put_all(bus, (0..100).map(|n| format!("large.{n}")).collect(), &large).await;
    let last = put(bus, "other", "").await;
    let found = selected(bus, &["g", "other"], last).await;
    assert_eq!(found.len(), 2_500 + 2);
    assert!(found.contains_key("g") && found.contains_key("g.2499"));
    assert_eq!(selected(bus, &["large", "other"], last).await.len(), 101);
    assert_eq!(selected(bus, &[""], last).await.len(), 2_500 + 100 + 2);
}

/// While all is written again and again, and the answer comes in several parts.
pub(crate) async fn a_selection_is_complete_up_to_what_it_tells(world: World) {
    const KEYS: usize = 3_000;
    let key = |n: usize| format!("{}.{n}", ["a", "b", "c"][n % 3]);
    let (bus, done) = (world.bus.clone(), watch::Sender::new(false));
    let until_done = done.subscribe();
    let writer = tokio::spawn(async move {
        let mut written: Vec<(u64, String)> = Vec::new();
        while !*until_done.borrow() {
            for from in (0..KEYS).step_by(100) {
                let puts = (from..from + 100).map(async |n| (put(&bus, &key(n), "").await, key(n)));
                written.extend(join_all(puts).await);
            }
        }
        written
    });
    let mut selections = Vec::new();
    until("all keys are there, and some more times", async || {
        let selection = select(&world.bus, &["a", "b", "c", "d"]).await;
        let complete = selection.entries.len() == KEYS;
        if complete {
            selections.push(selection);
        }
        selections.len() == 5
    })
    .await;
    done.send_replace(true);
    let written = writer.await.expect("it writes");
    for selection in selections {
        assert!(selection.upto > 0);
        let found: HashMap<&String, u64> = selection.entries.iter().map(|(key, e)| (key, e.revision)).collect();
        for (revision, key) in &written {
            assert!(*revision > selection.upto || found[key] >= *revision, "{key}");
        }
    }
}

pub(crate) async fn a_purge_removes_what_matches_for_good(world: World) {
    let bus = &world.bus;
    for key in [
        "ann.n1.i1",
        "bob.n1.i1",
        "cy.n1.i2",
        "ann.n2.i1",
        "n1.i1",
        "ann.n1.i1.x",
    ] {
        put(bus, key, "").await;
    }
    bus.kv
        .put(Bucket::Presence, "ann.n1.i1", text(""), None)
        .await
        .expect("put");
    assert_eq!(bus.kv.purge(BUCKET, "*.n1.i1").await, Ok(2));
    assert_eq!(bus.kv.purge(BUCKET, "*.n1.i1").await, Ok(0));
    assert_eq!(bus.kv.get_latest(BUCKET, "bob.n1.i1").await, Ok(None));
    let last = put(bus, "last", "").await;
    let found = selected(bus, &[""], last).await;
    let found: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(found, ["ann.n1.i1.x", "ann.n2.i1", "cy.n1.i2", "last", "n1.i1"]);
    assert!(
        bus.kv
            .get_latest(Bucket::Presence, "ann.n1.i1")
            .await
            .is_ok_and(|e| e.is_some())
    );
    let created = bus.kv.create(BUCKET, "bob.n1.i1", text("again"), None).await;
    assert!(created.is_ok(), "{created:?}");
    assert_eq!(bus.kv.purge(BUCKET, "ann.>").await, Ok(2));
    assert_eq!(bus.kv.purge(BUCKET, "last").await, Ok(1));
}

pub(crate) async fn a_purge_of_some_keys_resets_no_watch(world: World) {
    let bus = &world.bus;
    // The oldest ones: a stream without them begins later.
    for n in 0..50 {
        put(bus, &format!("gone.{n}"), "").await;
    }
    put(bus, "stays", "").await;
    let (mut all, mut within) = (watched(bus, "").await, watched(bus, "gone").await);
    let (mut table, mut narrow) = (Table::default(), Table::default());
    table.follow(&mut all, "current", |table| table.current).await;
    narrow.follow(&mut within, "current", |table| table.current).await;
    assert_eq!(bus.kv.purge(BUCKET, "gone.*").await, Ok(50));
    // Longer than a watch takes to notice an emptied bucket.
    let quiet = Duration::from_secs(7);
    let (heard, heard_within) = tokio::join!(timeout(quiet, all.next()), timeout(quiet, within.next()));
    assert!(heard.is_err() && heard_within.is_err(), "{heard:?} {heard_within:?}");
    // Both go on: with what was purged, and with what stayed.
    let revision = put(bus, "gone.1", "again").await;
    for watch in [&mut all, &mut within] {
        assert_put(watch.next().await, "gone.1", "again", revision);
    }
    world.purge(BUCKET).await;
    for (table, watch) in [(&mut table, &mut all), (&mut narrow, &mut within)] {
        table
            .follow(watch, "nothing stands", |table| table.current && table.keys.is_empty())
            .await;
        assert_eq!(table.resets, 1);
    }
}
