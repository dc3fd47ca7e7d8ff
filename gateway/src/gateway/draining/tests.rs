//! Drains of nodes with clients of all kinds, by thousands of schedules in virtual time: some read at once, some slowly, some
//! not at all, some go by themselves, some come while it drains; and messages go on all the while.

use std::ops::Range;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};

use super::*;
use crate::{
    conn::{
        outbox::Pushed,
        pull::{Pull, Pulled},
        sink::Sink,
    },
    dialect::Dialect,
    event::Ending,
};

/// `HERALD_SEEDS=17` or `0..100000` for others.
const SEEDS: Range<u64> = 0..3_000;
/// Of a connection's outbox: some ten messages.
const OUTBOX: usize = 100;
/// The grain of the runtime's timer.
const GRAIN: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy)]
enum Client {
    /// Takes a message, and looks for the next after this.
    Reads(Duration),
    Sleeps,
    /// Goes without a word.
    Leaves(Duration),
}

/// A client with all that was meant for it, and all that it got.
struct Guest {
    client: Client,
    /// Came when the drain had begun.
    late: bool,
    conn: Arc<Conn>,
    meant: Mutex<Vec<Bytes>>,
    got: Mutex<Vec<Bytes>>,
    told: Mutex<Option<Ending>>,
    /// When its end began.
    ended: Mutex<Option<Instant>>,
}

fn client(dice: &mut StdRng) -> Client {
    match dice.random_range(0..10) {
        0 => Client::Sleeps,
        1 | 2 => Client::Leaves(Duration::from_millis(dice.random_range(0..5_000))),
        3 | 4 => Client::Reads(Duration::from_millis(dice.random_range(1..400))),
        _ => Client::Reads(Duration::ZERO),
    }
}

async fn live(guest: Arc<Guest>, open: Arc<Open>, number: u64) {
    let mut pull = Pull::new(guest.conn.clone());
    match guest.client {
        Client::Sleeps => std::future::pending().await,
        Client::Leaves(after) => {
            sleep(after).await;
            open.remove(&number);
        }
        Client::Reads(pause) => loop {
            match pull.next().await {
                Pulled::Frame(frame) => guest.got.lock().push(frame),
                Pulled::End(ending) => {
                    *guest.told.lock() = Some(ending);
                    open.remove(&number);
                    return;
                }
            }
            sleep(pause).await;
        },
    }
}

struct World {
    open: Arc<Open>,
    guests: Vec<Arc<Guest>>,
    tasks: JoinSet<()>,
}

impl World {
    fn come(&mut self, client: Client, late: bool) {
        let number = self.guests.len() as u64;
        let address = [127, 0, 0, 1].into();
        let conn = Conn::new(number.to_string(), Dialect::Events, OUTBOX, Sink::answer(true), address);
        let guest = Arc::new(Guest {
            client,
            late,
            conn: conn.clone(),
            meant: Mutex::default(),
            got: Mutex::default(),
            told: Mutex::default(),
            ended: Mutex::default(),
        });
        self.open.insert(number, conn);
        self.tasks.spawn(live(guest.clone(), self.open.clone(), number));
        let watched = guest.clone();
        self.tasks.spawn(async move {
            watched.conn.outbox.not_open().await;
            *watched.ended.lock() = Some(Instant::now());
        });
        self.guests.push(guest);
    }

    /// As the hub does with what is stored.
    fn send(&self, to: usize, message: u64) {
        let (guest, frame) = (&self.guests[to], Bytes::from(format!("{message:09}")));
        match guest.conn.push(frame.clone()) {
            Pushed::Queued(_) => guest.meant.lock().push(frame),
            Pushed::Full => guest.conn.close(CloseCode::SlowConsumer),
            Pushed::Closed => {}
        }
    }
}

async fn schedule(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut world = World {
        open: Arc::default(),
        guests: Vec::new(),
        tasks: JoinSet::new(),
    };
    for _ in 0..dice.random_range(0..40) {
        let client = client(&mut dice);
        world.come(client, false);
    }
    let count = world.guests.len();
    let window = Duration::from_millis(dice.random_range(0..5_000));
    let began = Instant::now();
    let open = world.open.clone();
    let drain = tokio::spawn(async move { close_all(&open, window).await });
    // So that the drain has looked who is there.
    sleep(Duration::from_millis(1)).await;
    let mut message = 0;
    while !drain.is_finished() {
        sleep(Duration::from_millis(dice.random_range(1..100))).await;
        match dice.random_range(0..20) {
            0 if !drain.is_finished() => {
                let client = client(&mut dice);
                world.come(client, true);
            }
            _ if world.guests.is_empty() => {}
            _ => {
                message += 1;
                world.send(dice.random_range(0..world.guests.len()), message);
            }
        }
    }
    drain.await.unwrap();
    // Whoever reads takes what waits: ten messages at the slowest pace.
    sleep(Duration::from_secs(10)).await;
    check(&world, seed, began, window, count);
}

fn check(world: &World, seed: u64, began: Instant, window: Duration, count: usize) {
    let drained = Ending::Code(CloseCode::ShuttingDown);
    let slow = Ending::Code(CloseCode::SlowConsumer);
    let mut closed = Vec::new();
    for (number, guest) in world.guests.iter().enumerate() {
        let what = format!("seed {seed}, client {number}, {:?}", guest.client);
        let left = matches!(guest.client, Client::Leaves(_)) && !world.open.contains_key(&(number as u64));
        let ending = guest.conn.outbox.ending();
        assert!(
            left || ending == Some(drained) || ending == Some(slow),
            "{what}: {ending:?}"
        );
        if let (Some(ended), false) = (*guest.ended.lock(), guest.late) {
            assert!(ended <= began + window + GRAIN, "{what}: after the window");
            if ending == Some(drained) {
                closed.push(ended);
            }
        }
        let (meant, got) = (guest.meant.lock(), guest.got.lock());
        if matches!(guest.client, Client::Reads(_)) {
            assert_eq!(*guest.told.lock(), ending, "{what}");
            if ending == Some(drained) {
                assert_eq!(*got, *meant, "{what}: all that waited comes before the end");
            }
        }
        assert!(meant.starts_with(&got), "{what}: in order");
    }
    closed.sort_unstable();
    let share = window / u32::try_from(count.max(1)).unwrap();
    for (place, closed) in closed.iter().enumerate() {
        let earliest = began + share * u32::try_from(place).unwrap();
        assert!(*closed + GRAIN >= earliest, "seed {seed}: close {place} comes too soon");
    }
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
fn a_drain_ends_all_in_its_window_one_by_one_and_takes_nothing_from_anybody() {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(schedule(seed));
    }
}
