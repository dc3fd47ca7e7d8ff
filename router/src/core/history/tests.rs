use bytes::Bytes;
use herald_proto::{
    cluster::{Control, MemberCommand},
    subject::Names,
};

use super::*;
use crate::{
    bus::{LogLimits, memory},
    policy::Policy,
};

fn router_with(max_messages_per_target: u64, max_bytes: u64) -> Router {
    let bus = memory::bus(LogLimits {
        max_age: Duration::from_secs(600),
        max_messages_per_target,
        max_bytes,
        replicas: None,
    });
    Router::new(bus, Policy::open(), Names::new("herald"))
}

fn router() -> Router {
    router_with(10_000, 64 << 20)
}

fn text(n: usize) -> Stored {
    Stored {
        id: n.to_string(),
        time: id::now_ms(),
        ..Stored::default()
    }
}

async fn store(router: &Router, target: &Target, stored: &Stored) -> u64 {
    let dedup = id::message_id();
    let appended = router.bus.log.append(target, stored.encode_to_vec().into(), &dedup);
    appended.await.unwrap().sequence
}

fn bob() -> Target {
    Target::user("bob")
}

fn command(of: &Target, limit: u32) -> HistoryCommand {
    HistoryCommand {
        sender: Some(Sender {
            user: Some("bob".to_owned()),
            broadcast: false,
        }),
        of: Some(of.to_proto()),
        limit,
        ..HistoryCommand::default()
    }
}

async fn ask(router: &Router, command: HistoryCommand) -> Result<History, ErrorCode> {
    match router.history(command).await {
        Ok(reply::Reply::History(history)) => Ok(history),
        Ok(other) => panic!("{other:?}"),
        Err(failure) => Err(failure.code),
    }
}

async fn after(router: &Router, after: &str, limit: u32) -> History {
    let after = Some(after.to_owned());
    ask(
        router,
        HistoryCommand {
            after,
            ..command(&bob(), limit)
        },
    )
    .await
    .unwrap()
}

async fn before(router: &Router, before: &str, limit: u32) -> History {
    let before = Some(before.to_owned());
    ask(
        router,
        HistoryCommand {
            before,
            ..command(&bob(), limit)
        },
    )
    .await
    .unwrap()
}

fn ids(history: &History) -> Vec<usize> {
    let ids = history
        .entries
        .iter()
        .map(|entry| entry.stored.as_ref().unwrap().id.parse().unwrap());
    ids.collect()
}

/// All pages from `place` on, each with its ids.
async fn all_pages(router: &Router, forwards: bool, limit: u32) -> Vec<Vec<usize>> {
    let log = router.log_id().unwrap();
    let mut place = log.at(if forwards { 0 } else { u64::MAX }).to_string();
    let mut pages = Vec::new();
    loop {
        let page = match forwards {
            true => after(router, &place, limit).await,
            false => before(router, &place, limit).await,
        };
        assert!(!page.gap);
        pages.push(ids(&page));
        if !page.more {
            return pages;
        }
        let edge = if forwards {
            page.entries.last()
        } else {
            page.entries.first()
        };
        place = log.at(edge.unwrap().sequence).to_string();
    }
}

#[tokio::test]
async fn pages_give_all_once_in_either_direction() {
    let router = router();
    for n in 0..1_700 {
        store(&router, &bob(), &text(n)).await;
        store(&router, &Target::user("eve"), &text(9_999)).await;
    }
    for limit in [7, 50, 850, 1_000] {
        let pages = all_pages(&router, true, limit).await;
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit as usize));
        assert_eq!(pages.concat(), (0..1_700).collect::<Vec<_>>());
        let mut pages = all_pages(&router, false, limit).await;
        pages.reverse();
        assert_eq!(pages.concat(), (0..1_700).collect::<Vec<_>>());
    }
    let newest = ask(&router, command(&bob(), 0)).await.unwrap();
    assert_eq!(ids(&newest), (1_650..1_700).collect::<Vec<_>>());
    assert!(newest.more && !newest.gap);
    assert_eq!(newest.log, router.log_id().unwrap().to_string());
    let nothing = ask(&router, command(&Target::All, 0)).await.unwrap();
    assert!(nothing.entries.is_empty() && !nothing.more && !nothing.gap);
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let router = router();
    let own = router.log_id().unwrap().at(1).to_string();
    for bad in ["", "1", "x:1", "5f3a@0:1", "5f3a.0:-1"] {
        let bad = Some(bad.to_owned());
        let ways = [
            HistoryCommand {
                after: bad.clone(),
                ..command(&bob(), 1)
            },
            HistoryCommand {
                before: bad,
                ..command(&bob(), 1)
            },
        ];
        for way in ways {
            assert_eq!(ask(&router, way).await, Err(ErrorCode::BadRequest));
        }
    }
    let both = HistoryCommand {
        after: Some(own.clone()),
        before: Some(own),
        ..command(&bob(), 1)
    };
    let nobody = HistoryCommand {
        of: None,
        ..command(&bob(), 1)
    };
    for bad in [both, nobody, command(&bob(), 1_001), command(&Target::user(""), 1)] {
        assert_eq!(ask(&router, bad).await, Err(ErrorCode::BadRequest));
    }
}

#[tokio::test]
async fn who_may_read_what() {
    let router = router();
    let group = Target::group("g");
    assert_eq!(
        ask(&router, command(&Target::user("eve"), 1)).await,
        Err(ErrorCode::Forbidden)
    );
    assert_eq!(ask(&router, command(&group, 1)).await, Err(ErrorCode::Forbidden));
    let join = MemberCommand {
        sender: command(&group, 1).sender,
        user: "bob".to_owned(),
        group: "g".to_owned(),
        dedup: "join".to_owned(),
        node: String::new(),
    };
    router.join(join).await.unwrap();
    // The directory does not know it yet: then the leader is asked.
    router.directory.write().reset_groups();
    for of in [bob(), group, Target::All] {
        assert!(ask(&router, command(&of, 1)).await.is_ok(), "{of:?}");
    }
    let application = HistoryCommand {
        sender: None,
        ..command(&Target::user("eve"), 1)
    };
    assert!(ask(&router, application).await.is_ok());
}

#[tokio::test]
async fn what_is_no_message_any_more_is_left_out_and_does_not_count() {
    let router = router();
    let now = id::now_ms();
    for n in 0..300 {
        store(&router, &bob(), &text(n)).await;
        let control = Some(Control::default());
        store(&router, &bob(), &Stored { control, ..text(1_000) }).await;
        let late = Stored {
            time: now - 61_000,
            ..text(1_001)
        };
        store(&router, &bob(), &late).await;
        let expired = Stored {
            time: now - 5_000,
            ttl: 1,
            ..text(1_002)
        };
        store(&router, &bob(), &expired).await;
        let kept = Stored {
            time: now - 5_000,
            ttl: 60,
            ..text(1_003)
        };
        if n == 299 {
            store(&router, &bob(), &kept).await;
        }
    }
    router
        .bus
        .log
        .append(&bob(), Bytes::from_static(b"\xff"), "no message")
        .await
        .unwrap();
    let newest = ask(&router, command(&bob(), 201)).await.unwrap();
    assert_eq!(ids(&newest), (100..300).chain([1_003]).collect::<Vec<_>>());
    let first = after(&router, &router.log_id().unwrap().at(0).to_string(), 120).await;
    assert_eq!(ids(&first), (0..120).collect::<Vec<_>>());
    assert!(first.more);
}

#[tokio::test]
async fn another_logs_offset_is_a_gap() {
    let router = router();
    for n in 0..10 {
        store(&router, &bob(), &text(n)).await;
    }
    let history = after(&router, "5f3a.0:4", 3).await;
    assert_eq!((ids(&history), history.gap, history.more), (vec![0, 1, 2], true, true));
    let history = before(&router, "5f3a.0:4", 3).await;
    assert_eq!((ids(&history), history.gap, history.more), (vec![7, 8, 9], true, true));
}

#[tokio::test]
async fn what_may_be_gone_is_a_gap() {
    let router = router_with(10, 64 << 20);
    let mut sequences = Vec::new();
    for n in 0..15 {
        sequences.push(store(&router, &bob(), &text(n)).await);
    }
    let log = router.log_id().unwrap();
    let at = |n: usize| log.at(sequences[n]).to_string();
    assert!(after(&router, &at(2), 3).await.gap, "trimmed by count");
    assert!(!after(&router, &at(5), 3).await.gap, "the first that is kept");
    assert!(!before(&router, &at(8), 30).await.gap);

    let router = router_with(1_000, 20_000);
    let mut last = 0;
    for n in 0..300 {
        last = store(&router, &Target::All, &text(n)).await;
    }
    let log = router.log_id().unwrap();
    assert!(
        after(&router, &log.at(1).to_string(), 3).await.gap,
        "trimmed for want of room"
    );
    assert!(!after(&router, &log.at(last - 1).to_string(), 3).await.gap);
}

#[tokio::test]
async fn large_messages_come_over_several_pages() {
    let router = router();
    let sizes = [60 << 10; 30].into_iter().chain([900 << 10, 1, 900 << 10]);
    for (n, size) in sizes.enumerate() {
        let body = vec![b'x'; size].into();
        store(&router, &bob(), &Stored { body, ..text(n) }).await;
    }
    for forwards in [true, false] {
        let mut pages = all_pages(&router, forwards, 1_000).await;
        assert!(pages.len() >= 7, "{pages:?}");
        if !forwards {
            pages.reverse();
        }
        assert_eq!(pages.concat(), (0..33).collect::<Vec<_>>());
    }
    let newest = ask(&router, command(&bob(), 50)).await.unwrap();
    assert_eq!((ids(&newest), newest.more), (vec![32], true));
    let page = before(&router, &router.log_id().unwrap().at(31).to_string(), 50).await;
    assert!(page.more && page.entries.len() > 4 && page.encoded_len() < 512 << 10);
}
