use herald_proto::{
    Target,
    cluster::{GroupChange, control::Order},
    subject::Names,
};

use super::*;
use crate::{
    bus::{Bus, memory},
    config::LogSettings,
    core::between::Between,
    policy::Policy,
};

fn router(bus: Bus) -> Router {
    Router::new(bus, Policy::default(), Names::new("herald"))
}

/// Two routers of one cluster.
fn routers() -> [Router; 2] {
    let bus = memory::bus(LogSettings::default().limits());
    [(); 2].map(|()| router(bus.clone()))
}

fn command(dedup: &str) -> MemberCommand {
    MemberCommand {
        user: "bob".to_owned(),
        group: "g".to_owned(),
        dedup: dedup.to_owned(),
        ..MemberCommand::default()
    }
}

/// What the bucket says, and what a router that has no watch knows of it by its own doing.
async fn is_member(router: &Router) -> bool {
    let key = subject::key(&["g", "bob"]);
    router.bus.kv.get_latest(Bucket::Groups, &key).await.unwrap().is_some()
}

/// Its gateway asked the other router in its place, whose answer stands.
#[tokio::test]
async fn a_leave_that_comes_late_does_not_end_the_membership_that_began_after_it() {
    let [late, other] = routers();
    other.join(command("1")).await.unwrap();
    other.leave(command("2")).await.unwrap();
    other.join(command("3")).await.unwrap();
    let answered = late.leave(command("2")).await.unwrap();
    assert!(
        matches!(answered, reply::Reply::Done(Done { sequence: 2, .. })),
        "{answered:?}"
    );
    assert!(is_member(&other).await);
}

#[tokio::test]
async fn a_join_that_comes_late_does_not_undo_a_leave() {
    let [late, other] = routers();
    other.join(command("1")).await.unwrap();
    other.leave(command("2")).await.unwrap();
    late.join(command("1")).await.unwrap();
    assert!(!is_member(&other).await);
    assert!(!late.directory.read().is_member("g", "bob"));
}

/// The first router died between the word and the deed.
#[tokio::test]
async fn what_was_told_and_not_done_is_done_when_it_is_asked_again() {
    let [router, _] = routers();
    let told = async |joined, dedup| {
        let change = GroupChange {
            group: "g".to_owned(),
            joined,
        };
        let order = Order::Group(change);
        router.order(&Target::user("bob"), order, dedup).await.unwrap()
    };
    let first = told(true, "1").await;
    // Of another group, and none at all: neither says anything of this one.
    router
        .join(MemberCommand {
            group: "h".to_owned(),
            ..command("x")
        })
        .await
        .unwrap();
    router
        .bus
        .log
        .append(&Target::user("bob"), Bytes::new(), "m")
        .await
        .unwrap();
    router.join(command("1")).await.unwrap();
    assert!(is_member(&router).await);
    let key = subject::key(&["g", "bob"]);
    let entry = router.bus.kv.get_latest(Bucket::Groups, &key).await.unwrap().unwrap();
    assert_eq!(Membership::decode(entry.value).unwrap().from_sequence, first.sequence);
    told(false, "2").await;
    router.leave(command("2")).await.unwrap();
    assert!(!is_member(&router).await);
}

/// What the log says last of a membership, and what the bucket says, is the same, whoever changed it at the same time.
#[tokio::test]
async fn of_two_changes_at_once_the_later_one_in_the_log_stands() {
    for joins_again in [false, true] {
        let [other, _] = routers();
        other.join(command("1")).await.unwrap();
        let bus = other.bus.clone();
        let meanwhile = {
            let other = other.clone();
            async move {
                other.leave(command("2")).await.unwrap();
                if joins_again {
                    other.join(command("3")).await.unwrap();
                }
            }
        };
        let late = router(Bus {
            kv: std::sync::Arc::new(Between::new(bus.kv.clone(), meanwhile)),
            ..bus
        });
        late.leave(command("4")).await.unwrap();
        let page = other.bus.log.read(&Target::user("bob"), 0, 100).await.unwrap();
        let orders = page.entries.iter().map(|entry| {
            let stored = herald_proto::cluster::Stored::decode(entry.payload.clone()).unwrap();
            match stored.control.unwrap().order {
                Some(Order::Group(change)) => change.joined,
                order => panic!("{order:?}"),
            }
        });
        assert_eq!(
            orders.last(),
            Some(is_member(&other).await),
            "joins again: {joins_again}"
        );
    }
}

/// The outcome of its leave is unknown, and it may be on its way still.
#[tokio::test]
async fn once_a_member_is_told_that_it_has_joined_no_older_leave_ends_that() {
    let [router, _] = routers();
    router.join(command("1")).await.unwrap();
    let key = subject::key(&["g", "bob"]);
    let seen = router.bus.kv.look(Bucket::Groups, &key).await.unwrap();
    router.join(command("2")).await.unwrap();
    let late = router.bus.kv.change(Bucket::Groups, &key, None, seen.version()).await;
    assert_eq!(late, Err(BusError::Conflict));
    assert!(is_member(&router).await);
}
