//! Reading the log page by page, forwards and back.

use bytes::Bytes;
use futures_util::future::join_all;
use herald_proto::Target;
use herald_router::bus::{LogLimits, Page};

use crate::{
    log::sequences,
    world::{World, limits, text, until},
};

pub(crate) async fn reads_come_in_pages(world: World) {
    const COUNT: usize = 1_300;
    let (ann, log) = (Target::user("ann"), &world.bus.log);
    let appends = (0..COUNT).map(|n| log.append(&ann, Bytes::new(), n.to_string().leak()));
    let mut written: Vec<u64> = join_all(appends)
        .await
        .into_iter()
        .map(|appended| appended.expect("appended").sequence)
        .collect();
    written.sort_unstable();
    assert_eq!(
        sequences(&world.all(&ann, COUNT).await),
        written,
        "more than one answer holds"
    );
    let read = async |after, limit| sequences(&log.read(&ann, after, limit).await.expect("read").entries);
    assert_eq!(read(0, 1).await, written[..1]);
    assert_eq!(read(written[9], 3).await, written[10..13]);
    assert_eq!(read(written[9] - 1, 700).await, written[9..709]);
    assert_eq!(read(written[COUNT - 2], 100).await, written[COUNT - 1..]);
    assert!(read(written[COUNT - 1], 100).await.is_empty());
    assert!(read(0, 0).await.is_empty());
    assert_eq!(log.read(&Target::user("nobody"), 0, 10).await, Ok(Page::default()));
}

/// What a page in either direction must be, of all that a target holds.
fn forwards(all: &[u64], after: u64, limit: usize) -> (Vec<u64>, u64) {
    let start = all.partition_point(|sequence| *sequence <= after);
    let end = all.len().min(start.saturating_add(limit));
    (all[start..end].to_vec(), (all.len() - end) as u64)
}

fn backwards(all: &[u64], before: u64, limit: usize) -> (Vec<u64>, u64) {
    let end = all.partition_point(|sequence| *sequence < before);
    let start = end.saturating_sub(limit);
    (all[start..end].to_vec(), start as u64)
}

/// Both directions, around `positions` and with limits of all sizes, against what `all` says.
async fn reads_agree(world: &World, target: &Target, all: &[u64], positions: impl IntoIterator<Item = u64>) {
    let log = &world.bus.log;
    for position in positions {
        for limit in [0, 1, 2, 7, 50, 300, 1_000, usize::MAX] {
            let page = log.read_back(target, position, limit).await.expect("read");
            let what = format!("{limit} of {target:?} before {position}");
            assert_eq!(
                (sequences(&page.entries), page.left),
                backwards(all, position, limit),
                "{what}"
            );
        }
        // A read of nothing asks nothing, and does not know what is left.
        for limit in [1, 7, 300, usize::MAX] {
            let page = log.read(target, position, limit).await.expect("read");
            let what = format!("{limit} of {target:?} after {position}");
            assert_eq!(
                (sequences(&page.entries), page.left),
                forwards(all, position, limit),
                "{what}"
            );
        }
    }
}

pub(crate) async fn reading_back_gives_what_stands_before(world: World) {
    const COUNT: usize = 1_500;
    let limits = LogLimits {
        max_messages_per_target: 400,
        ..limits()
    };
    let world = world.again_with(limits).await;
    let targets = [
        Target::user("rare"),
        Target::user("some"),
        Target::group("many"),
        Target::All,
    ];
    let log = &world.bus.log;
    let appends = (0..COUNT).map(|n| {
        // Spread without any rhythm; the last is trimmed, the first very rare.
        let spread = n.wrapping_mul(2_654_435_761) >> 7 & 255;
        let target = &targets[match spread {
            0..3 => 0,
            3..40 => 1,
            40..80 => 2,
            _ => 3,
        }];
        async move {
            (
                target,
                log.append(target, text(n.to_string()), n.to_string().leak()).await,
            )
        }
    });
    let mut model: Vec<(&Target, u64)> = Vec::new();
    for (target, appended) in join_all(appends).await {
        model.push((target, appended.expect("appended").sequence));
    }
    model.sort_unstable_by_key(|(_, sequence)| *sequence);
    let last = model.last().expect("appended").1;
    for target in &targets {
        let of_target = model.iter().filter(|(other, _)| *other == target);
        let mut all: Vec<u64> = of_target.map(|(_, sequence)| *sequence).collect();
        let trimmed = all.len().saturating_sub(400);
        all.drain(..trimmed);
        until("all has come to the log", async || {
            sequences(&log.read(target, 0, usize::MAX).await.expect("read").entries) == all
        })
        .await;
        let random = (0..12_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (last + 3));
        let edges = [0, 1, 2, all[0], all[0] + 1, last, last + 1, last + 1_000_000, u64::MAX];
        reads_agree(&world, target, &all, random.chain(edges)).await;
    }
    reads_agree(&world, &Target::user("nobody"), &[], [0, 1, last, u64::MAX]).await;
}

pub(crate) async fn reading_back_finds_its_way_through_bursts(world: World) {
    let (ann, other, log) = (Target::user("ann"), Target::user("other"), &world.bus.log);
    let mut all = Vec::new();
    for (round, (of_ann, of_other)) in [(200, 0), (1, 1_200), (150, 3), (0, 700), (120, 1)]
        .into_iter()
        .enumerate()
    {
        for (target, count) in [(&ann, of_ann), (&other, of_other)] {
            let appends = (0..count).map(|n| log.append(target, Bytes::new(), format!("{target:?}{round}.{n}").leak()));
            let appended = join_all(appends)
                .await
                .into_iter()
                .map(|a| a.expect("appended").sequence);
            if *target == ann {
                all.extend(appended);
            } else {
                appended.for_each(drop);
            }
        }
    }
    all.sort_unstable();
    world.all(&ann, all.len()).await;
    let positions = [all[10], all[199] + 1, all[200], all[200] + 600, all[340], u64::MAX];
    reads_agree(&world, &ann, &all, positions).await;
}
