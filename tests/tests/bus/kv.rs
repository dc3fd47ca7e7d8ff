//! Buckets.

use std::time::Duration;

use futures_util::future::join_all;
use herald_proto::subject::key;
use herald_router::bus::{Bucket, BusError, Entry, Standing, Version};

use crate::world::{World, text, until};

const BUCKET: Bucket = Bucket::Sessions;

fn entry(value: &str, revision: u64) -> Option<Entry> {
    Some(Entry {
        value: text(value),
        revision,
    })
}

pub(crate) async fn what_is_put_is_read_until_it_is_deleted(world: World) {
    let kv = &world.bus.kv;
    for id in ["a", "a.b", "* >", "小明"] {
        let key = key(&["odd", id]);
        assert_eq!(kv.get(BUCKET, &key).await, Ok(None));
        assert_eq!(kv.get_latest(BUCKET, &key).await, Ok(None));
        let first = kv.put(BUCKET, &key, text("1"), None).await.expect("put");
        let second = kv.put(BUCKET, &key, text("2"), None).await.expect("put");
        assert!(first < second);
        assert_eq!(kv.get_latest(BUCKET, &key).await, Ok(entry("2", second)));
        until("the near replica has it", async || {
            kv.get(BUCKET, &key).await == Ok(entry("2", second))
        })
        .await;
        assert_eq!(kv.get_latest(Bucket::Groups, &key).await, Ok(None), "buckets are apart");
        kv.delete(BUCKET, &key).await.expect("deleted");
        assert_eq!(kv.get_latest(BUCKET, &key).await, Ok(None));
        until("it is gone from the near replica", async || {
            kv.get(BUCKET, &key).await == Ok(None)
        })
        .await;
        kv.delete(BUCKET, &key)
            .await
            .expect("a key that does not stand is no error");
    }
}

pub(crate) async fn create_and_update_compare(world: World) {
    let kv = &world.bus.kv;
    let conflict = Err(BusError::Conflict);
    assert_eq!(
        kv.update(BUCKET, "k", text("x"), 1, None).await,
        conflict,
        "none stands"
    );
    assert_eq!(
        kv.update(BUCKET, "k", text("x"), 0, None).await,
        conflict,
        "0 is no revision"
    );
    let first = kv.create(BUCKET, "k", text("1"), None).await.expect("created");
    assert_eq!(kv.create(BUCKET, "k", text("x"), None).await, conflict);
    let second = kv.update(BUCKET, "k", text("2"), first, None).await.expect("updated");
    assert_eq!(kv.update(BUCKET, "k", text("x"), first, None).await, conflict);
    assert_eq!(kv.get_latest(BUCKET, "k").await, Ok(entry("2", second)));
    kv.delete(BUCKET, "k").await.expect("deleted");
    assert_eq!(kv.update(BUCKET, "k", text("x"), second, None).await, conflict);
    assert_eq!(kv.get_latest(BUCKET, "k").await, Ok(None));
}

pub(crate) async fn a_change_compares_with_what_was_seen(world: World) {
    let kv = &world.bus.kv;
    let look = async || kv.look(BUCKET, "k").await.expect("a look");
    let put = async |value, seen: &Standing| kv.change(BUCKET, "k", Some(text(value)), seen.version()).await;
    let delete = async |seen: &Standing| kv.change(BUCKET, "k", None, seen.version()).await;
    let never = look().await;
    assert_eq!(never, Standing::Gone(0));
    put("1", &never).await.expect("nothing stood");
    assert_eq!(put("x", &never).await, Err(BusError::Conflict), "something stands");
    assert_eq!(delete(&never).await, Err(BusError::Conflict), "something stands");
    let first = look().await;
    let second = put("2", &first).await.expect("as it was seen");
    assert_eq!(delete(&first).await, Err(BusError::Conflict));
    assert_eq!(kv.get_latest(BUCKET, "k").await, Ok(entry("2", second)));
    let seen = look().await;
    assert_eq!(seen, Standing::Value(entry("2", second).expect("an entry")));
    delete(&seen).await.expect("as it was seen");
    assert_eq!(kv.get_latest(BUCKET, "k").await, Ok(None));
    assert_eq!(put("x", &seen).await, Err(BusError::Conflict), "it is gone");
    let gone = look().await;
    assert!(matches!(gone, Standing::Gone(_)), "{gone:?}");
    let trace = delete(&gone).await.expect("nothing stands, which is made sure of");
    let again = kv.change(BUCKET, "k", Some(text("again")), Version::Gone(trace)).await;
    let again = Version::Value(again.expect("as it was left"));
    let trace = kv.change(BUCKET, "k", None, again).await.expect("as it was put");
    delete(&Standing::Gone(trace)).await.expect("as it was left");
    put("3", &look().await).await.expect("nothing stood");
    assert_eq!(
        kv.get_latest(BUCKET, "k")
            .await
            .map(|entry| entry.map(|entry| entry.value)),
        Ok(Some(text("3")))
    );
}

pub(crate) async fn a_deleted_or_expired_key_can_be_created_again(world: World) {
    let kv = &world.bus.kv;
    for round in 0..3 {
        kv.create(BUCKET, "k", text("1"), None).await.expect("created");
        kv.delete(BUCKET, "k").await.expect("deleted");
        let ttl = Some(Duration::from_secs(1));
        kv.create(BUCKET, "k", text("2"), ttl)
            .await
            .expect("created after a deletion");
        until("it runs out", async || kv.get_latest(BUCKET, "k").await == Ok(None)).await;
        let third = kv
            .create(BUCKET, "k", text("3"), None)
            .await
            .expect("created after an expiry");
        assert_eq!(kv.get_latest(BUCKET, "k").await, Ok(entry("3", third)), "round {round}");
        kv.delete(BUCKET, "k").await.expect("deleted");
    }
}

pub(crate) async fn of_many_creators_one_wins(world: World) {
    let kv = &world.bus.kv;
    for _ in 0..5 {
        let creators = (0..20).map(|n| kv.create(BUCKET, "lease", text(n.to_string()), None));
        let created = join_all(creators).await;
        let winners: Vec<&u64> = created.iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{created:?}");
        assert!(
            created
                .iter()
                .flat_map(|made| made.as_ref().err())
                .all(|e| *e == BusError::Conflict)
        );
        kv.delete(BUCKET, "lease").await.expect("deleted");
    }
}

pub(crate) async fn a_refreshed_ttl_begins_anew(world: World) {
    let kv = &world.bus.kv;
    let ttl = Some(Duration::from_secs(2));
    kv.put(BUCKET, "other", text(""), ttl).await.expect("put");
    let mut revision = kv.create(BUCKET, "lease", text("a"), ttl).await.expect("created");
    // Refreshed until a key without refresh, of the same age, has run out.
    until("the other has run out", async || {
        revision = kv
            .update(BUCKET, "lease", text("a"), revision, ttl)
            .await
            .expect("it stands");
        kv.get_latest(BUCKET, "other").await == Ok(None)
    })
    .await;
    kv.put(BUCKET, "lease", text("b"), None).await.expect("put");
    let without = kv.get_latest(BUCKET, "lease").await.expect("read");
    assert_eq!(
        without.map(|entry| entry.value),
        Some(text("b")),
        "a put without a TTL ends the TTL"
    );
}
