use std::net::{IpAddr, Ipv4Addr};

use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    conn::{outbox::Work, sink::Sink},
    dialect::Dialect,
};

const INTERVAL: Duration = Duration::from_secs(25);
const TICK: Duration = Duration::from_secs(1);

fn conn() -> Arc<Conn> {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Conn::new("c-1".to_owned(), Dialect::Im, 1000, Sink::answer(true), address)
}

/// Whether something waits, which only a ping can be.
fn is_pinged(conn: &Conn) -> bool {
    match conn.outbox.next(0) {
        Some(Work::Write(frames)) => {
            conn.outbox.wrote(frames.bytes());
            true
        }
        Some(Work::Close(ending)) => panic!("closed with {ending:?}"),
        None => false,
    }
}

/// After how long it is pinged.
async fn pinged(conn: &Conn) -> Duration {
    let begun = Instant::now();
    while !is_pinged(conn) {
        conn.saw_frame();
        sleep(Duration::from_millis(100)).await;
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_first_ping_comes_after_one_whole_interval() {
    let keeper = Keeper::patient(INTERVAL, Duration::from_secs(22));
    let _run = AbortOnDropHandle::new(tokio::spawn(keeper.clone().run()));
    for phase in 0..100 {
        sleep(Duration::from_millis(phase * 37)).await;
        let conn = conn();
        keeper.watch(&conn);
        let first = pinged(&conn).await;
        assert!(first >= INTERVAL && first <= INTERVAL + 2 * TICK, "{phase}: {first:?}");
        let second = pinged(&conn).await;
        assert!(second <= INTERVAL + TICK, "{phase}: {second:?} after the first");
    }
}

#[tokio::test(start_paused = true)]
async fn native_connections_are_spread_evenly() {
    let keeper = Keeper::new(INTERVAL, Duration::from_secs(10));
    let _run = AbortOnDropHandle::new(tokio::spawn(keeper.clone().run()));
    sleep(Duration::from_millis(1)).await;
    let conns: Vec<_> = (0..4 * SLOTS).map(|_| conn()).collect();
    conns.iter().for_each(|conn| keeper.watch(conn));
    let mut most = 0;
    for _ in 0..SLOTS {
        sleep(TICK).await;
        conns.iter().for_each(|conn| conn.saw_frame());
        most = most.max(conns.iter().filter(|conn| is_pinged(conn)).count());
    }
    assert_eq!(most, 4);
}

/// One that was not pinged yet is not silent.
#[test]
fn only_who_was_pinged_is_ended_for_silence() {
    let (pinged, fresh) = (conn(), conn());
    let mut slot = Slot::default();
    slot.conns.push(Arc::downgrade(&pinged));
    slot.fresh.push(Arc::downgrade(&fresh));
    std::thread::sleep(Duration::from_millis(3));
    slot.ping();
    assert!(is_pinged(&pinged) && !is_pinged(&fresh));
    slot.end_silent();
    assert!(!pinged.outbox.is_open() && fresh.outbox.is_open());
    std::thread::sleep(Duration::from_millis(3));
    slot.ping();
    assert!(is_pinged(&fresh));
    slot.end_silent();
    assert!(!fresh.outbox.is_open());
}
