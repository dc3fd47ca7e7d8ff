//! Nodes with their truth, a bus that can be cut off from one of them, and a router.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use herald_proto::{
    cluster::{Lease, PresenceCommand, Reply, UserOnNode, UserPresence, reply},
    limits,
    subject::Names,
};
use herald_router::{
    bus::{Bucket, Bus, memory},
    config::LogSettings,
    core::Router,
    policy::Policy,
    presence::Fact,
    service,
};
use parking_lot::Mutex;
use prost::Message;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::AbortHandle, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::gate::{Gate, State, Traced};
use crate::presence::{Presence, Source};

pub(super) struct World {
    bus: Bus,
    nodes: Vec<Node>,
    router: Router,
    end: CancellationToken,
    writes: Arc<AtomicUsize>,
    /// Of what becomes of writes while a node is cut off.
    dice: Arc<Mutex<StdRng>>,
}

struct Node {
    name: String,
    truth: Arc<Truth>,
    presence: Arc<Presence>,
    /// None: it has crashed.
    runs: Option<AbortHandle>,
    gate: watch::Sender<State>,
}

/// Who is connected: how often.
#[derive(Default)]
struct Truth(Mutex<HashMap<String, u32>>);

impl Source for Truth {
    fn on_node(&self, user: &str) -> UserOnNode {
        UserOnNode {
            connections: self.0.lock().get(user).copied().unwrap_or(0),
            since: 1,
            infos: Vec::new(),
        }
    }
}

fn user_name(user: usize) -> String {
    format!("u{user}")
}

impl World {
    pub async fn new(nodes: usize, seed: u64) -> Self {
        let bus = memory::bus(LogSettings::default().limits());
        let bus = Bus {
            kv: Arc::new(Traced::new(bus.kv.clone())),
            ..bus
        };
        let writes = Arc::new(AtomicUsize::new(0));
        let end = CancellationToken::new();
        let mut world = Self {
            router: Self::router(&bus, &end),
            nodes: Vec::new(),
            end,
            bus,
            writes,
            dice: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        };
        for n in 0..nodes {
            let node = world.node(format!("n{n}"));
            world.nodes.push(node);
        }
        sleep(Duration::from_secs(1)).await;
        world
    }

    fn router(bus: &Bus, end: &CancellationToken) -> Router {
        let router = Router::new(bus.clone(), Policy::open(), Names::new("herald"));
        service::start(router.clone(), "r", end.clone(), &TaskTracker::new());
        router
    }

    fn node(&self, name: String) -> Node {
        let (gate, state) = watch::channel(State::Open);
        let kv = Gate {
            kv: self.bus.kv.clone(),
            state,
            writes: self.writes.clone(),
            dice: self.dice.clone(),
        };
        let bus = Bus {
            kv: Arc::new(kv),
            ..self.bus.clone()
        };
        let truth = Arc::new(Truth::default());
        let presence = Presence::new(bus, name.clone());
        let runs = tokio::spawn(presence.clone().run(truth.clone())).abort_handle();
        Node {
            name,
            truth,
            presence,
            runs: Some(runs),
            gate,
        }
    }

    pub fn connect(&mut self, node: usize, user: usize) {
        let node = &self.nodes[node];
        if node.runs.is_some() {
            *node.truth.0.lock().entry(user_name(user)).or_default() += 1;
            node.presence.touch(&user_name(user).as_str().into());
        }
    }

    pub fn disconnect(&mut self, node: usize, user: usize) {
        let node = &self.nodes[node];
        if node.runs.is_some() {
            if let Some(count) = node.truth.0.lock().get_mut(&user_name(user)) {
                *count = count.saturating_sub(1);
            }
            node.presence.touch(&user_name(user).as_str().into());
        }
    }

    pub fn crash(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if let Some(runs) = node.runs.take() {
            runs.abort();
            node.truth.0.lock().clear();
        }
    }

    /// Under the same name, if it has crashed.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].runs.is_none() {
            self.nodes[node] = self.node(self.nodes[node].name.clone());
        }
    }

    pub fn pause(&mut self, node: usize) {
        self.nodes[node].gate.send_replace(State::Closed);
    }

    /// From NATS.
    pub fn cut(&mut self, node: usize) {
        self.nodes[node].gate.send_replace(State::Cut);
    }

    /// After a pause, or a cut.
    pub fn go_on(&mut self, node: usize) {
        self.nodes[node].gate.send_replace(State::Open);
    }

    fn lease_key(&self, node: usize) -> String {
        let node = self.nodes[node].name.clone();
        Fact::Lease { node }.key()
    }

    pub async fn lose_lease(&mut self, node: usize) {
        self.bus
            .kv
            .delete(Bucket::Presence, &self.lease_key(node))
            .await
            .unwrap();
    }

    /// As by somebody who wrote the key without right: its revision is another, what counts stays.
    pub async fn lose_lease_by_another(&mut self, node: usize) {
        let key = self.lease_key(node);
        let entry = self.bus.kv.get(Bucket::Presence, &key).await.unwrap().unwrap();
        let mut lease = Lease::decode(entry.value).unwrap();
        lease.started += 1;
        let value = lease.encode_to_vec().into();
        self.bus
            .kv
            .put(Bucket::Presence, &key, value, Some(limits::LEASE))
            .await
            .unwrap();
    }

    pub fn restart_router(&mut self) {
        self.end.cancel();
        self.end = CancellationToken::new();
        self.router = Self::router(&self.bus, &self.end);
    }

    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    async fn ask(router: &Router, users: usize) -> Vec<UserPresence> {
        let command = PresenceCommand {
            users: (0..users).map(user_name).collect(),
            ..PresenceCommand::default()
        };
        let answer = router.handle("presence", command.encode_to_vec().into()).await;
        match Reply::decode(answer).unwrap().reply {
            Some(reply::Reply::Presence(presence)) => presence.users,
            other => panic!("{other:?}"),
        }
    }

    pub async fn assert_truth(&self, users: usize, when: &str) {
        for presence in Self::ask(&self.router, users).await {
            let counts = self
                .nodes
                .iter()
                .filter_map(|node| node.truth.0.lock().get(&presence.user).copied());
            let connections: u32 = counts.sum();
            let told = (presence.online, presence.connections);
            assert_eq!(told, (connections > 0, connections), "{}, {when}", presence.user);
        }
    }

    /// Keys of incarnations that are gone do not stay in the bucket.
    pub async fn assert_no_zombies(&self, when: &str) {
        let selection = self
            .bus
            .kv
            .select(Bucket::Presence, &["u".to_owned(), "n".to_owned()])
            .await
            .unwrap();
        let mut leases = HashMap::new();
        let mut keys = Vec::new();
        for (key, entry) in selection.entries {
            match Fact::of(&key) {
                Some(Fact::Lease { node }) => {
                    leases.insert(node.into_owned(), Lease::decode(entry.value).unwrap().incarnation);
                }
                Some(Fact::User { node, incarnation, .. }) => keys.push((node.into_owned(), incarnation.into_owned())),
                _ => {}
            }
        }
        for (node, incarnation) in keys {
            assert_eq!(leases.get(&node), Some(&incarnation), "{when}");
        }
    }

    /// Counts how often one of these users is seen offline from now on.
    pub fn count_flickers(&self, users: usize) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let (router, flickers) = (self.router.clone(), count.clone());
        tokio::spawn(async move {
            loop {
                let offline = Self::ask(&router, users).await.into_iter().filter(|user| !user.online);
                flickers.fetch_add(offline.count(), Ordering::Relaxed);
                sleep(Duration::from_millis(1)).await;
            }
        });
        count
    }
}
