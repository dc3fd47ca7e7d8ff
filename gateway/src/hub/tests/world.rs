//! A hub over a faulty log, and guests who keep their cursors.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use herald_proto::{
    Offset, Target,
    cluster::{DeleteGroupCommand, Done, GroupMembership, MemberCommand, PurgeCommand, Reply, Sender, Stored, reply},
    id,
    offset::Cursor,
    subject::Names,
};
use herald_router::bus::{
    Bus, LogLimits,
    fault::{FaultyLog, Rates},
    memory,
};
use herald_router::{core::Router, policy::Policy};
use parking_lot::Mutex;
use prost::Message as _;
use rand::{Rng, rngs::StdRng};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    conn::{Conn, Member, outbox::Work, sink::Sink},
    dialect::Dialect,
    hub::{Hub, Start},
    metrics::Metrics,
};

const GROUPS: [&str; 3] = ["g0", "g1", "g2"];

/// A stored message: its target, and its sequence.
pub type Place = (String, u64);

pub struct World {
    pub hub: Arc<Hub>,
    bus: Bus,
    /// What is stored, by target: sequences, and which were stored already when a place was noted.
    stored: Mutex<BTreeMap<String, Vec<u64>>>,
    next: Mutex<u64>,
    /// It tells of deletions.
    router: Router,
    /// Groups that were deleted, and where.
    ended: Mutex<HashMap<String, u64>>,
    _run: AbortOnDropHandle<()>,
    _beat: AbortOnDropHandle<()>,
}

fn key(target: &Target) -> String {
    match target {
        Target::User(user) => format!("user {user}"),
        Target::Group(group) => format!("group {group}"),
        Target::All => "all".to_owned(),
    }
}

impl World {
    pub fn new(seed: u64, rates: Rates, keeps: u64) -> Self {
        let mut bus = memory::bus(LogLimits {
            max_age: Duration::from_secs(3600),
            max_messages_per_target: keeps,
            max_bytes: 1 << 30,
            replicas: None,
        });
        bus.log = Arc::new(FaultyLog::new(bus.log.clone(), seed, rates));
        let metrics = Metrics::new();
        let tasks = TaskTracker::new();
        let hub = Hub::new(bus.clone(), &Names::new("t"), Duration::from_secs(5), tasks, metrics);
        let (running, beating) = (hub.clone(), bus.clone());
        Self {
            hub,
            router: Router::new(bus.clone(), Policy::open(), Names::new("t")),
            ended: Mutex::default(),
            bus,
            stored: Mutex::default(),
            next: Mutex::default(),
            _run: AbortOnDropHandle::new(tokio::spawn(running.run())),
            _beat: AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    beating.log.beat().await.unwrap();
                }
            })),
        }
    }

    pub fn any_target(&self, dice: &mut StdRng) -> Target {
        match dice.random_range(0..7) {
            0 => Target::All,
            n @ 1..=3 => Target::group(GROUPS[n - 1]),
            n => Target::user(format!("u{}", n - 4)),
        }
    }

    /// Stores a message, trying again as a router and its gateway would.
    pub async fn store(&self, target: &Target) {
        let number = {
            let mut next = self.next.lock();
            *next += 1;
            *next
        };
        let message = Stored {
            id: format!("m{number}"),
            body: Bytes::from_static(b"1"),
            time: id::now_ms(),
            ..Stored::default()
        };
        let payload = Bytes::from(message.encode_to_vec());
        loop {
            let appended = self.bus.log.append(target, payload.clone(), &number.to_string()).await;
            if let Ok(appended) = appended {
                self.stored
                    .lock()
                    .entry(key(target))
                    .or_default()
                    .push(appended.sequence);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl World {
    /// As a gateway asks: under one dedup id until it is done.
    async fn ask(&self, verb: &str, command: &impl prost::Message) -> Done {
        loop {
            let answer = self.router.handle(verb, command.encode_to_vec().into()).await;
            match Reply::decode(answer).unwrap().reply {
                Some(reply::Reply::Done(done)) => return done,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Deletes what is stored for a target.
    pub async fn purge(&self, target: &Target) {
        let command = PurgeCommand {
            of: Some(target.to_proto()),
            before: None,
            dedup: id::message_id(),
        };
        self.ask("purge", &command).await;
    }

    /// From here on it has no members.
    pub async fn delete_group(&self, group: &str) {
        // Without a member it would not be there.
        let somebody = MemberCommand {
            sender: Some(Sender::default()),
            user: "somebody".to_owned(),
            group: group.to_owned(),
            dedup: id::message_id(),
            node: String::new(),
        };
        self.ask("join", &somebody).await;
        let command = DeleteGroupCommand {
            group: group.to_owned(),
            dedup: id::message_id(),
        };
        let done = self.ask("delete-group", &command).await;
        self.ended.lock().entry(group.to_owned()).or_insert(done.sequence);
    }

    fn ended(&self, group: &str) -> Option<u64> {
        self.ended.lock().get(group).copied()
    }

    pub fn any_group(&self, dice: &mut StdRng) -> &'static str {
        GROUPS[dice.random_range(0..GROUPS.len())]
    }

    /// Those messages that somebody lacks: all that the log still has, and what is gone and was not told of.
    pub async fn lacking(&self, missing: Vec<Place>, excused: &HashSet<Place>) -> Vec<Place> {
        let mut lacking = Vec::new();
        for place in missing {
            let is_gone = matches!(self.bus.log.get(place.1).await, Ok(None));
            if !(is_gone && excused.contains(&place)) {
                lacking.push(place);
            }
        }
        lacking
    }

    /// The newest that is stored for each target.
    pub fn newest(&self) -> HashMap<String, u64> {
        let stored = self.stored.lock();
        let newest = |sequences: &Vec<u64>| sequences.iter().copied().max().unwrap_or(0);
        stored.iter().map(|(target, s)| (target.clone(), newest(s))).collect()
    }

    pub fn stored_for(&self, target: &str) -> Vec<u64> {
        self.stored.lock().get(target).cloned().unwrap_or_default()
    }
}

impl Drop for World {
    /// The log holds its sinks and the hub its log: taken apart, or thousands of schedules would all stay.
    fn drop(&mut self) {
        self.hub.topics.clear();
    }
}

/// A user with one device, which keeps its cursor and what it has seen.
pub struct Guest {
    user: Arc<str>,
    /// Those that it is in, and those whose end it was told of.
    groups: Vec<String>,
    left: HashSet<String>,
    /// It asks for all that is kept of its inbox first.
    from_start: bool,
    conn: Option<Arc<Conn>>,
    cursor: Option<String>,
    /// Up to which sequence messages were stored before it was welcomed for the first time, by target.
    before: HashMap<String, u64>,
    seen: HashMap<String, HashSet<u64>>,
    /// The last that was new, by target.
    last: HashMap<String, u64>,
    /// The last of this connection, by target.
    last_here: HashMap<String, u64>,
    pub told_of_gap: bool,
    pub resumed: bool,
    /// What may be gone, for it was told of a gap since.
    excused: HashSet<Place>,
    faults: Vec<String>,
}

impl Guest {
    pub fn new(number: usize, groups: usize, from_start: bool) -> Self {
        Self {
            user: format!("u{number}").into(),
            groups: GROUPS[..groups].iter().map(ToString::to_string).collect(),
            left: HashSet::new(),
            from_start,
            conn: None,
            cursor: None,
            before: HashMap::new(),
            seen: HashMap::new(),
            last: HashMap::new(),
            last_here: HashMap::new(),
            told_of_gap: false,
            resumed: false,
            excused: HashSet::new(),
            faults: Vec::new(),
        }
    }

    /// Connects, if it is not connected, until it works.
    pub async fn come(&mut self, world: &World) {
        if self.conn.is_some() {
            return;
        }
        let conn = Conn::new(
            format!("c-{}", self.user),
            Dialect::Json,
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
        let start = match &self.cursor {
            Some(cursor) => Start::Cursor(cursor.parse().unwrap()),
            None if self.from_start => Start::Beginning,
            None => Start::Now,
        };
        // Who was away when a group ended has no claim to what it got meanwhile.
        self.groups
            .retain(|group| self.left.contains(group) || world.ended(group).is_none());
        let told: Vec<GroupMembership> = self
            .groups
            .iter()
            .filter(|group| !self.left.contains(*group))
            .map(|group| GroupMembership {
                group: group.clone(),
                from_sequence: 0,
            })
            .collect();
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
        self.told_of_gap |= entered.gap;
        self.resumed = entered.resumed;
        if self.cursor.is_none() {
            self.before = world.newest();
            if self.from_start {
                self.before.remove(&format!("user {}", self.user));
                // Of what is not kept any more nothing is told.
                self.excused.extend(self.missing(world));
            }
        }
        if entered.gap {
            self.excused.extend(self.missing(world));
        }
        self.cursor = Some(entered.cursor.to_string());
        self.last_here.clear();
        conn.release(Some(Bytes::new()));
        world.hub.follow(&conn, entered);
        self.conn = Some(conn);
    }

    fn cursor(&self) -> Cursor {
        self.cursor.as_ref().unwrap().parse().unwrap()
    }

    pub fn place(&self) -> u64 {
        self.cursor().sequence
    }

    pub fn move_cursor(&mut self, ahead: u64) {
        let mut cursor = self.cursor();
        cursor.sequence += ahead;
        self.cursor = Some(cursor.to_string());
    }

    /// What was not read until now is lost on the way.
    pub fn cut(&mut self, world: &World) {
        if let Some(conn) = self.conn.take() {
            world.hub.detach_all(&conn, &self.user);
            conn.close(herald_proto::CloseCode::ShuttingDown);
        }
    }

    /// Takes what has come.
    pub fn read(&mut self) {
        let Some(conn) = self.conn.clone() else { return };
        let mut written = 0;
        while let Some(Work::Write(frames)) = conn.outbox.next(written) {
            written = frames.bytes();
            for frame in frames.iter().filter(|frame| !frame.is_empty()) {
                self.hear(frame);
            }
        }
    }

    /// Whether the hub has closed the connection, as it does where something is missing for good.
    pub fn is_closed(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| !conn.outbox.is_open())
    }

    fn hear(&mut self, frame: &[u8]) {
        let head = if frame[1] == 126 { 4 } else { 2 };
        let push: serde_json::Value = serde_json::from_slice(&frame[head..]).unwrap();
        if let Some(cursor) = push["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        if let Some(group) = push["group"]["group"].as_str() {
            self.left.insert(group.to_owned());
        }
        let message = &push["message"];
        let Some(offset) = message["offset"].as_str() else {
            return;
        };
        let Offset { sequence, .. } = offset.parse().unwrap();
        let to = &message["to"];
        let target = match (to["user"].as_str(), to["group"].as_str()) {
            (Some(user), _) => format!("user {user}"),
            (_, Some(group)) => format!("group {group}"),
            _ => "all".to_owned(),
        };
        let here = self.last_here.entry(target.clone()).or_default();
        if sequence <= *here {
            self.faults
                .push(format!("{target}: {sequence} after {here} on one connection"));
        }
        *here = sequence;
        if to["group"].as_str().is_some_and(|group| self.left.contains(group)) {
            self.faults.push(format!("{target}: {sequence} after its end"));
        }
        // One who comes back to the beginning of its inbox is given what its groups had got since as well.
        if sequence <= self.before.get(&target).copied().unwrap_or(0) {
            return;
        }
        if self.seen.entry(target.clone()).or_default().insert(sequence) {
            let last = self.last.entry(target.clone()).or_default();
            // What was deleted a replica that lags may show all the same, to one who was told that it may be gone.
            if sequence < *last && !self.excused.contains(&(target.clone(), sequence)) {
                self.faults
                    .push(format!("{target}: {sequence} first seen after {last}"));
            }
            *last = sequence;
        }
    }

    fn missing(&self, world: &World) -> Vec<Place> {
        let own = self.groups.iter().map(|group| {
            let end = self.left.contains(group).then(|| world.ended(group)).flatten();
            (format!("group {group}"), end.unwrap_or(u64::MAX))
        });
        let others = ["all".to_owned(), format!("user {}", self.user)];
        let own = own.chain(others.map(|target| (target, u64::MAX)));
        own.flat_map(|(target, end)| {
            let before = self.before.get(&target).copied().unwrap_or(0);
            let seen = self.seen.get(&target).cloned().unwrap_or_default();
            let due = world.stored_for(&target).into_iter();
            due.filter(|sequence| (before + 1..end).contains(sequence) && !seen.contains(sequence))
                .map(|sequence| (target.clone(), sequence))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    pub async fn has_all(&self, world: &World) -> bool {
        world.lacking(self.missing(world), &self.excused).await.is_empty()
    }

    pub async fn check(&self, world: &World, seed: u64) {
        assert!(self.faults.is_empty(), "seed {seed}, {}: {:?}", self.user, self.faults);
        let lacking = world.lacking(self.missing(world), &self.excused).await;
        assert!(lacking.is_empty(), "seed {seed}, {} misses {lacking:?}", self.user);
    }
}
