//! One who only polls: it keeps a cursor and nothing else, so that what came once must not come again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use herald_proto::{Offset, cluster::GroupMembership};
use rand::{Rng, rngs::StdRng};

use super::world::{Place, World};
use crate::{
    conn::{Conn, Member, pull::Pull, sink::Sink},
    dialect::Dialect,
    event::Ending,
    hub::{Hub, Start},
    post::turn,
};

pub struct Poller {
    user: Arc<str>,
    groups: Vec<String>,
    cursor: Option<String>,
    /// Up to which sequence messages were stored before the first poll, by target.
    before: HashMap<String, u64>,
    /// By target.
    seen: HashMap<String, BTreeSet<u64>>,
    /// What may be gone, for it was told of a gap since.
    excused: HashSet<Place>,
    faults: Vec<String>,
}

/// Takes a connection out of everything when its poll is over, or cut.
struct Leaving<'a>(&'a Hub, Arc<Conn>, &'a str);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.1.end(Ending::Peer(None));
        self.0.detach_all(&self.1, self.2);
    }
}

impl Poller {
    pub fn new(user: &str, groups: &[&str]) -> Self {
        Self {
            user: user.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            cursor: None,
            before: HashMap::new(),
            seen: HashMap::new(),
            excused: HashSet::new(),
            faults: Vec::new(),
        }
    }

    /// One poll; where it is dropped before it is answered, the client knows nothing of it.
    pub async fn poll(&mut self, world: &World, wait: Duration) {
        let conn = Conn::new(
            "p-1".to_owned(),
            Dialect::Poll,
            1 << 20,
            Sink::answer(true),
            [127, 0, 0, 1].into(),
        );
        conn.set_member(Member {
            user: self.user.clone(),
            device: None,
            since: 0,
            session: None,
        });
        let leaving = Leaving(&world.hub, conn.clone(), &self.user);
        let start = match &self.cursor {
            Some(cursor) => Start::Cursor(cursor.parse().unwrap()),
            None => Start::Now,
        };
        let told = self.groups.iter().map(|group| GroupMembership {
            group: group.clone(),
            from_sequence: 0,
        });
        let told: Vec<GroupMembership> = told.collect();
        conn.outbox.hold();
        conn.progress.fell_behind();
        let entered = loop {
            let entering = async {
                world.hub.announce(&conn, &self.user).await?;
                world.hub.enter(&conn, &self.user, &start, &told).await
            };
            match entering.await {
                Ok(entered) => break entered,
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        };
        conn.progress.caught_up();
        if self.cursor.is_none() {
            self.before = world.newest();
        }
        let mut pull = Pull::new(conn);
        let turn = turn::take(&world.hub, &mut pull, &start, entered, wait).await;
        drop(leaving);
        self.cursor = Some(turn.cursor.to_string());
        turn.messages.iter().for_each(|message| self.hear(message));
        if turn.gap {
            self.excused.extend(self.missing(world));
        }
    }

    fn hear(&mut self, message: &[u8]) {
        let message: serde_json::Value = serde_json::from_slice(message).unwrap();
        let Offset { sequence, .. } = message["offset"].as_str().unwrap().parse().unwrap();
        let to = &message["to"];
        let target = match (to["user"].as_str(), to["group"].as_str()) {
            (Some(user), _) => format!("user {user}"),
            (_, Some(group)) => format!("group {group}"),
            _ => "all".to_owned(),
        };
        let seen = self.seen.entry(target.clone()).or_default();
        if let Some(last) = seen.last().filter(|last| sequence <= **last) {
            self.faults.push(format!("{target}: {sequence} after {last}"));
        }
        seen.insert(sequence);
    }

    async fn lacks(&self, world: &World) -> Vec<Place> {
        world.lacking(self.missing(world), &self.excused).await
    }

    fn missing(&self, world: &World) -> Vec<Place> {
        let own = self.groups.iter().map(|group| format!("group {group}"));
        let own = own.chain(["all".to_owned(), format!("user {}", self.user)]);
        let none = BTreeSet::new();
        own.flat_map(|target| {
            let before = self.before.get(&target).copied().unwrap_or(0);
            let seen = self.seen.get(&target).unwrap_or(&none);
            let due = world.stored_for(&target).into_iter();
            due.filter(|sequence| *sequence > before && !seen.contains(sequence))
                .map(|sequence| (target.clone(), sequence))
                .collect::<Vec<_>>()
        })
        .collect()
    }
}

/// Polls of all kinds, some cut, while others store.
pub async fn schedule(world: &World, dice: &mut StdRng, seed: u64) {
    let mut poller = Poller::new("u0", &["g0", "g1"][..dice.random_range(0..=2)]);
    poller.poll(world, Duration::ZERO).await;
    let mut storing = StdRng::clone(dice);
    let store = async {
        for _ in 0..storing.random_range(5..80) {
            let pause = match storing.random_range(0..20) {
                0 => storing.random_range(0..12_000),
                1..5 => storing.random_range(0..300),
                _ => 0,
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let target = world.any_target(&mut storing);
            match storing.random_range(0..40) {
                0 => world.purge(&target).await,
                _ => world.store(&target).await,
            }
        }
    };
    let polls = async {
        for _ in 0..dice.random_range(3..40) {
            let wait = match dice.random_range(0..4) {
                0 => 0,
                1 => dice.random_range(0..300),
                _ => dice.random_range(0..10_000),
            };
            let poll = poller.poll(world, Duration::from_millis(wait));
            let cut = Duration::from_millis(match dice.random_ratio(1, 4) {
                true => dice.random_range(0..2_000),
                false => 3_600_000,
            });
            let _cut = tokio::time::timeout(cut, poll).await;
        }
    };
    tokio::join!(store, polls);
    for _ in 0..200 {
        if poller.lacks(world).await.is_empty() {
            break;
        }
        poller.poll(world, Duration::from_secs(2)).await;
    }
    assert!(poller.faults.is_empty(), "seed {seed}: {:?}", poller.faults);
    let lacking = poller.lacks(world).await;
    assert!(lacking.is_empty(), "seed {seed}: misses {lacking:?}");
}
