//! Days of a game on a whole cluster, with a fault every now and then; after each day, when all players have gone, it is looked at
//! what is left: memory, tasks, file descriptors, subscriptions and keys. All of it must return to its level.
//!
//! One gateway and one router are never killed, so that what grows in them shows.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    gateway::{FREE, file},
    loadtest,
    nats::{cluster::NatsCluster, free_port},
    process::Node,
};

mod levels;
mod report;

use levels::Levels;
pub use report::Outcome;

const GATEWAYS: usize = 3;
const ROUTERS: usize = 2;
/// How long what fails is away: reconnects and retries outlast it.
const AWAY: Duration = Duration::from_secs(3);
/// How long a router stands still.
const PAUSE: Duration = Duration::from_secs(4);
/// In the names of users and groups: every day the same ones come.
const NAMES: &str = "7";

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub days: usize,
    /// How long one is, and how long it is rested after it.
    pub day: Duration,
    pub rest: Duration,
    /// Between one fault and the next.
    pub apart: Duration,
    pub clients: usize,
    /// Messages a second at the busiest hour.
    pub rate: u32,
}

struct World {
    gateways: Vec<Node>,
    routers: Vec<Node>,
    /// Where each gateway listens, however often it is started again.
    public: Vec<String>,
    urls: String,
    faults: usize,
    // Last, so that it is dropped last.
    nats: NatsCluster,
}

pub async fn run(plan: Plan) -> Outcome {
    let begun = Instant::now();
    let mut world = World::start().await;
    let mut outcome = Outcome::default();
    for day in 0..plan.days {
        world.day(&plan, &mut outcome, begun).await;
        sleep(plan.rest).await;
        outcome
            .levels
            .push(Levels::of(&world.gateways, &world.routers, &world.nats).await);
        eprintln!("{:6.1} s  day {day} is over", begun.elapsed().as_secs_f64());
    }
    let left = levels::left_connections(&world.nats).await;
    if left > 0 {
        outcome
            .faults
            .push(format!("{left} keys of connections that are gone stay"));
    }
    outcome
}

impl World {
    async fn start() -> Self {
        let nats = NatsCluster::start().await;
        let mut world = Self {
            gateways: Vec::new(),
            routers: Vec::new(),
            public: (0..GATEWAYS).map(|_| format!("127.0.0.1:{}", free_port())).collect(),
            urls: nats.urls(),
            faults: 0,
            nats,
        };
        for i in 0..ROUTERS {
            world.routers.push(world.router(i).await);
        }
        for i in 0..GATEWAYS {
            world.gateways.push(world.gateway(i).await);
        }
        world
    }

    /// Under the same name each time, as a supervisor starts it again.
    async fn router(&self, i: usize) -> Node {
        self.node("herald-router", &format!("router{i}"), &[]).await
    }

    async fn gateway(&self, i: usize) -> Node {
        let listen = ["--listen", &self.public[i]];
        let mut node = self.node("herald-gateway", &format!("gateway{i}"), &listen).await;
        node.listens("public").await;
        node
    }

    async fn node(&self, program: &str, name: &str, more: &[&str]) -> Node {
        let config = file(&format!("node = \"{name}\"\n"));
        let path = config.path().to_str().expect("UTF-8").to_owned();
        let common = ["--dev", "--config", &path, "--nats", &self.urls, "--admin", FREE];
        let mut node = Node::spawn(program, [&common[..], more].concat());
        node.files.push(config);
        node.ready().await;
        node
    }

    /// The load of a day, and the faults beside it.
    async fn day(&mut self, plan: &Plan, outcome: &mut Outcome, begun: Instant) {
        let urls = self.public.iter().map(|address| format!("ws://{address}/ws"));
        let mut arguments: Vec<String> = urls.flat_map(|url| ["--url".to_owned(), url]).collect();
        let groups = plan.clients.div_ceil(15);
        let numbers = [
            ("--names", NAMES.to_owned()),
            ("--clients", plan.clients.to_string()),
            ("--groups", groups.to_string()),
            ("--rate", plan.rate.to_string()),
            ("--duration", format!("{}ms", plan.day.as_millis())),
            ("--announcements", "4".to_owned()),
        ];
        arguments.extend(numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        let arguments: Vec<&str> = ["mixed", "--through-faults"]
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
            .collect();
        let load = loadtest::run(&arguments);
        tokio::pin!(load);
        let mut due = Instant::now() + plan.apart / 2;
        let report = loop {
            if let Ok(report) = timeout_at(due, &mut load).await {
                break report;
            }
            // The load goes on meanwhile.
            tokio::select! {
                report = &mut load => break report,
                what = self.fault() => eprintln!("{:6.1} s  {what}", begun.elapsed().as_secs_f64()),
            }
            due += plan.apart;
        };
        self.mend().await;
        outcome.note(&report);
    }

    async fn fault(&mut self) -> String {
        let turn = self.faults;
        self.faults += 1;
        match turn % 5 {
            0 => self.replace_gateway(1).await,
            1 => self.replace_router(1).await,
            2 => {
                let server = turn / 5 % self.nats.servers.len();
                self.nats.kill(server);
                sleep(AWAY).await;
                self.nats.restart(server).await;
                format!("NATS server {server} was killed, and runs again")
            }
            3 => {
                self.routers[0].signal(Signal::STOP);
                sleep(PAUSE).await;
                self.routers[0].signal(Signal::CONT);
                "router 0 stood still, and goes on".to_owned()
            }
            _ => self.replace_gateway(2).await,
        }
    }

    async fn replace_gateway(&mut self, i: usize) -> String {
        self.gateways[i].kill();
        sleep(AWAY).await;
        self.gateways[i] = self.gateway(i).await;
        format!("gateway {i} was killed, and another runs in its place")
    }

    async fn replace_router(&mut self, i: usize) -> String {
        self.routers[i].kill();
        sleep(AWAY).await;
        self.routers[i] = self.router(i).await;
        format!("router {i} was killed, and another runs in its place")
    }

    /// The day may have ended in the middle of a fault.
    async fn mend(&mut self) {
        self.routers[0].signal(Signal::CONT);
        for server in 0..self.nats.servers.len() {
            if !self.nats.servers[server].is_running() {
                self.nats.restart(server).await;
            }
        }
        for i in 0..ROUTERS {
            if !self.routers[i].running() {
                self.routers[i] = self.router(i).await;
            }
        }
        for i in 0..GATEWAYS {
            if !self.gateways[i].running() {
                self.gateways[i] = self.gateway(i).await;
            }
        }
    }
}
