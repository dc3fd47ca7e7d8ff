//! The model: three nodes whose users come and go, that crash, pause, are cut off, lose their leases and start again, with routers
//! that restart; all in virtual time, on the real writers, the memory bus and the real router's table. Whatever happened,
//! the table comes to agree with the truth.

use std::{ops::Range, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use world::World;

mod gate;
mod world;

/// Schedules of a run; `HERALD_SEEDS=17` or `0..100000` for others.
const SEEDS: Range<u64> = 0..400;
/// A lease's end, what is postponed, and a moment.
const AT_REST: Duration = Duration::from_secs(25);

const NODES: usize = 3;
const USERS: usize = 5;

async fn schedule(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut world = World::new(NODES, seed).await;
    for _ in 0..dice.random_range(5..50) {
        let node = dice.random_range(0..NODES);
        let user = dice.random_range(0..USERS);
        match dice.random_range(0..22) {
            0..=5 => world.connect(node, user),
            6..=9 => world.disconnect(node, user),
            10 => world.crash(node),
            11 | 12 => world.start(node),
            13 => world.pause(node),
            14 | 15 => world.go_on(node),
            16 => world.lose_lease(node).await,
            17 => world.restart_router(),
            20 | 21 => world.cut(node),
            18 => sleep(Duration::from_millis(dice.random_range(0..15_000))).await,
            _ => sleep(Duration::from_millis(dice.random_range(0..1_500))).await,
        }
    }
    for node in 0..NODES {
        world.go_on(node);
    }
    sleep(AT_REST).await;
    world.assert_truth(USERS, &format!("seed {seed}")).await;
    // Whoever waits for cleanup is right all the while.
    sleep(Duration::from_secs(70)).await;
    world.assert_truth(USERS, &format!("seed {seed}, later")).await;
    world.assert_no_zombies(&format!("seed {seed}")).await;
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("HERALD_SEEDS") else {
        return SEEDS;
    };
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => {
            let seed = text.parse().unwrap();
            seed..seed + 1
        }
    }
}

#[test]
fn the_table_comes_to_agree_with_the_truth_whatever_happens() {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(schedule(seed));
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_only_leases_are_written() {
    let mut world = World::new(1, 0).await;
    for user in 0..50 {
        world.connect(0, user);
    }
    sleep(Duration::from_secs(5)).await;
    let before = world.writes();
    sleep(Duration::from_secs(100)).await;
    let written = world.writes() - before;
    assert!((20..=40).contains(&written), "{written} in 100 s");
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_makes_nobody_flicker() {
    let mut world = World::new(1, 0).await;
    for user in 0..20 {
        world.connect(0, user);
    }
    sleep(Duration::from_secs(20)).await;
    let flickers = world.count_flickers(20);
    world.lose_lease_by_another(0).await;
    sleep(Duration::from_secs(20)).await;
    world.assert_truth(20, "after the lease was lost").await;
    assert_eq!(Arc::clone(&flickers).load(std::sync::atomic::Ordering::Relaxed), 0);
}
