//! Sweep, resume and their meeting with live copies, over a log that misbehaves: by thousands of seeds, in virtual time.

use std::time::Duration;

use herald_proto::Target;
use rand::{Rng, SeedableRng, rngs::StdRng};

use self::world::{Guest, World};
use herald_router::bus::fault::Rates;

mod poller;
mod world;

/// Faults of all kinds, or of few, or none: what only shows in a nearly healthy cluster must show too.
fn rates(dice: &mut StdRng) -> Rates {
    let mut rate = |most: u32| if dice.random() { dice.random_range(0..=most) } else { 0 };
    Rates {
        drop: rate(60),
        double: rate(30),
        delay: rate(50),
        lag: rate(80),
        fail: rate(30),
        unacked: rate(20),
        refused: rate(20),
        hang: 0,
    }
}

/// One schedule: guests come, are cut and come back, while messages are stored for their inboxes, groups and for all, what is
/// stored is deleted, and groups end.
async fn schedule(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let keeps = if dice.random_ratio(1, 4) {
        dice.random_range(3..20)
    } else {
        1_000
    };
    let world = World::new(seed, rates(&mut dice), keeps);
    let guests = dice.random_range(1..=3);
    let mut guests: Vec<Guest> = (0..guests)
        .map(|n| Guest::new(n, dice.random_range(0..=3), dice.random_ratio(1, 4)))
        .collect();
    for _ in 0..dice.random_range(5..60) {
        let at = dice.random_range(0..guests.len());
        match dice.random_range(0..40) {
            36 => world.purge(&world.any_target(&mut dice)).await,
            37 => world.delete_group(world.any_group(&mut dice)).await,
            0..4 => guests[at].come(&world).await,
            4..8 => guests[at].cut(&world),
            8..12 => tokio::time::sleep(Duration::from_millis(dice.random_range(0..8_000))).await,
            12..16 => tokio::time::sleep(Duration::from_millis(dice.random_range(0..20))).await,
            _ => {
                let target = world.any_target(&mut dice);
                world.store(&target).await;
            }
        }
        guests[at].read();
    }
    for guest in &mut guests {
        guest.come(&world).await;
    }
    // What is left to do takes two sweeps, and retries where the dice are against it.
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for guest in &mut guests {
            guest.read();
            if guest.is_closed() {
                guest.cut(&world);
                guest.come(&world).await;
            }
        }
        let mut complete = true;
        for guest in &guests {
            complete &= guest.has_all(&world).await;
        }
        if complete {
            break;
        }
    }
    for guest in &guests {
        guest.check(&world, seed).await;
    }
}

/// Replicas lag, so that what they answer says nothing of where the log ends.
#[test]
fn a_cursor_ahead_of_the_log_is_a_gap_and_one_at_its_end_is_not() {
    for seed in 0..50 {
        in_virtual_time(async move {
            let rates = Rates {
                lag: 50,
                ..Rates::default()
            };
            let world = World::new(seed, rates, 1_000);
            let mut guest = Guest::new(0, 1, false);
            guest.come(&world).await;
            for _ in 0..5 {
                world.store(&Target::user("u0")).await;
            }
            tokio::time::sleep(Duration::from_secs(15)).await;
            for (ahead, gap) in [(0, false), (500, true), (0, false)] {
                guest.read();
                guest.cut(&world);
                guest.move_cursor(ahead);
                guest.told_of_gap = false;
                guest.come(&world).await;
                assert_eq!((guest.resumed, guest.told_of_gap), (!gap, gap), "seed {seed}, {ahead}");
                world.store(&Target::user("u0")).await;
                tokio::time::sleep(Duration::from_secs(15)).await;
                guest.read();
                assert!(
                    guest.has_all(&world).await && guest.place() < 500,
                    "seed {seed}, {ahead}"
                );
            }
            guest.check(&world, seed).await;
        });
    }
}

fn in_virtual_time(schedule: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(schedule);
}

/// Each in a runtime of its own, so that nothing of one is left in the next.
fn run(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        in_virtual_time(schedule(seed));
        in_virtual_time(polls(seed));
    }
}

/// The same world for one who has nothing but its cursor.
async fn polls(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let keeps = if dice.random_ratio(1, 8) {
        dice.random_range(3..20)
    } else {
        1_000
    };
    let world = World::new(seed, rates(&mut dice), keeps);
    poller::schedule(&world, &mut dice, seed).await;
}

/// 10,000 in all, shared among threads; or those of HERALD_SEEDS, "17" or "0..100000".
#[test]
fn nothing_is_lost_or_out_of_order_or_given_to_a_poll_twice_whatever_the_log_does() {
    let seeds = std::env::var("HERALD_SEEDS").unwrap_or_else(|_| "0..10000".to_owned());
    let (first, end): (u64, u64) = match seeds.split_once("..") {
        Some((first, end)) => (first.parse().unwrap(), end.parse().unwrap()),
        None => (seeds.parse().unwrap(), seeds.parse::<u64>().unwrap() + 1),
    };
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let share = (end - first).div_ceil(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let seeds = first + thread * share..end.min(first + (thread + 1) * share);
            scope.spawn(move || run(seeds));
        }
    });
}
