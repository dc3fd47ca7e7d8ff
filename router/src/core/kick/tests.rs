use std::sync::Arc;

use herald_proto::{
    cluster::{Control, HttpSession, Session, Stored},
    subject::Names,
};

use super::*;
use crate::{
    bus::{Bus, memory},
    config::LogSettings,
    core::between::Between,
    policy::Policy,
};

/// When the kick was asked for.
const ASKED: u64 = 1_790_000_000_000;

fn router(bus: Bus) -> Router {
    Router::new(bus, Policy::default(), Names::new("herald"))
}

fn bus() -> Bus {
    memory::bus(LogSettings::default().limits())
}

fn command(revoke: bool, time: u64, dedup: &str) -> KickCommand {
    KickCommand {
        user: "bob".to_owned(),
        revoke,
        time,
        dedup: dedup.to_owned(),
    }
}

async fn log_in(bus: &Bus, session: &str, started: u64) {
    begin(bus, session, started).await;
    announce(bus, session, started).await;
}

async fn begin(bus: &Bus, session: &str, started: u64) {
    let value = Session {
        started,
        ..Session::default()
    };
    let (key, value) = (subject::key(&["bob", session]), value.encode_to_vec().into());
    bus.kv.create(Bucket::Sessions, &key, value, None).await.unwrap();
}

async fn announce(bus: &Bus, session: &str, since: u64) {
    let (key, value) = (presence(session), HttpSession { since }.encode_to_vec().into());
    bus.kv.put(Bucket::Presence, &key, value, None).await.unwrap();
}

fn presence(session: &str) -> String {
    let fact = Fact::Session {
        user: "bob",
        sid: session,
    };
    fact.key()
}

/// Whether the session stands, and makes its user online.
async fn stands(bus: &Bus, session: &str) -> (bool, bool) {
    let stands = async |bucket, key: &str| bus.kv.get_latest(bucket, key).await.unwrap().is_some();
    (
        stands(Bucket::Sessions, &subject::key(&["bob", session])).await,
        stands(Bucket::Presence, &presence(session)).await,
    )
}

async fn revoked_upto(bus: &Bus) -> u64 {
    let entry = bus.kv.get_latest(Bucket::Revoked, "bob").await.unwrap().unwrap();
    Revocation::decode(entry.value).unwrap().upto
}

async fn kicks(bus: &Bus) -> Vec<Kick> {
    let page = bus.log.read(&Target::user("bob"), 0, 10).await.unwrap();
    let kicks = page.entries.iter().map(|entry| {
        let stored = Stored::decode(entry.payload.clone()).unwrap();
        match stored.control {
            Some(Control {
                order: Some(Order::Kick(kick)),
            }) => kick,
            other => panic!("{other:?}"),
        }
    });
    kicks.collect()
}

#[tokio::test]
async fn a_kick_stands_in_the_users_log_and_revocations_only_grow() {
    let bus = bus();
    let router = router(bus.clone());
    for (revoke, time, dedup) in [(false, 5, "a"), (true, 20, "b"), (true, 10, "c"), (true, 10, "c")] {
        router
            .handle("kick", command(revoke, time, dedup).encode_to_vec().into())
            .await;
    }
    assert_eq!(kicks(&bus).await.len(), 3, "the last was one command, asked twice");
    assert_eq!(revoked_upto(&bus).await, 20);
}

/// Wherever it stood still, its gateway asked the other router in its place, whose answer stands.
#[tokio::test]
async fn a_kick_that_goes_on_late_ends_no_session_that_began_after_its_answer() {
    for changes in 0..8 {
        let bus = bus();
        log_in(&bus, "old", ASKED - 1).await;
        let (other, meanwhile) = (router(bus.clone()), bus.clone());
        let (done, is_done) = tokio::sync::oneshot::channel();
        let answered = async move {
            other.kick(command(true, ASKED, "k")).await.unwrap();
            log_in(&meanwhile, "new", ASKED + 4_001).await;
            done.send(()).unwrap();
        };
        let late = router(Bus {
            kv: Arc::new(Between::after(changes, bus.kv.clone(), answered)),
            ..bus.clone()
        });
        late.kick(command(true, ASKED, "k")).await.unwrap();
        drop(late);
        assert_eq!(stands(&bus, "old").await, (false, false), "after {changes}");
        if is_done.await.is_ok() {
            assert_eq!(stands(&bus, "new").await, (true, true), "after {changes}");
        } else {
            assert!(changes >= 3, "it made {changes} changes and more");
        }
        assert_eq!(kicks(&bus).await.len(), 1);
    }
}

#[tokio::test]
async fn a_second_try_changes_nothing_more() {
    let bus = bus();
    let [router, other] = [(); 2].map(|()| router(bus.clone()));
    log_in(&bus, "old", ASKED).await;
    router.kick(command(true, ASKED, "k")).await.unwrap();
    log_in(&bus, "new", ASKED + 1).await;
    // Of the first try, had that come to an end in the middle.
    announce(&bus, "half", ASKED).await;
    other.kick(command(true, ASKED, "k")).await.unwrap();
    assert_eq!(stands(&bus, "old").await, (false, false));
    assert_eq!(stands(&bus, "half").await, (false, false));
    assert_eq!(stands(&bus, "new").await, (true, true));
    other.kick(command(true, ASKED + 2, "another")).await.unwrap();
    assert_eq!(stands(&bus, "new").await, (false, false));
}

/// No router has carried it out meanwhile.
#[tokio::test]
async fn a_kick_that_comes_very_late_is_for_what_began_before_it_was_asked_for() {
    let bus = bus();
    log_in(&bus, "old", ASKED - 1).await;
    log_in(&bus, "new", ASKED + 60_000).await;
    router(bus.clone()).kick(command(true, ASKED, "k")).await.unwrap();
    assert_eq!(stands(&bus, "old").await, (false, false));
    assert_eq!(stands(&bus, "new").await, (true, true));
    let upto = kicks(&bus).await[0].upto;
    assert!((ASKED..ASKED + 60_000).contains(&upto), "nor do gateways: {upto}");
}

/// It stood still when it had read what is revoked.
#[tokio::test]
async fn an_older_kick_takes_nothing_back_of_a_newer_one() {
    let bus = bus();
    let other = router(bus.clone());
    let newer = async move {
        other.kick(command(true, ASKED + 9, "newer")).await.unwrap();
    };
    let late = router(Bus {
        kv: Arc::new(Between::new(bus.kv.clone(), newer)),
        ..bus.clone()
    });
    late.kick(command(true, ASKED, "older")).await.unwrap();
    assert_eq!(revoked_upto(&bus).await, ASKED + 9);
}

#[tokio::test]
async fn a_clock_that_is_ahead_saves_no_session() {
    let bus = bus();
    log_in(&bus, "ahead", ASKED + 2_000).await;
    router(bus.clone()).kick(command(true, ASKED, "k")).await.unwrap();
    assert_eq!(stands(&bus, "ahead").await, (false, false));
}

/// The gateway that announced it found that it stood.
#[tokio::test]
async fn a_login_that_meets_a_kick_leaves_nobody_online() {
    let bus = bus();
    begin(&bus, "new", ASKED - 1).await;
    let announced = bus.clone();
    let late = router(Bus {
        kv: Arc::new(Between::new(bus.kv.clone(), async move {
            announce(&announced, "new", ASKED - 1).await;
        })),
        ..bus.clone()
    });
    late.kick(command(true, ASKED, "k")).await.unwrap();
    assert_eq!(stands(&bus, "new").await, (false, false));
}
