//! A router that starts beside very many users, and what it answers while they come and go.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use herald_proto::cluster::{Presence, PresenceCommand, Reply, Sender, reply};
use prost::Message;
use rand::seq::index::sample;
use tokio::time::{sleep, timeout};

use super::AT_ONCE;
use crate::{
    PATIENCE, cluster::dev_router, gateway::FREE, http, metrics::Metrics, nats::NatsServer, process::Node, usage::Usage,
};

mod node;

use node::MadeUp;

const ONLINE: &str = "herald_router_users_online";
/// Told by NATS when a watch of the bucket begins.
const WATCH_BEGINS: &str = "$JS.EVENT.ADVISORY.CONSUMER.CREATED.KV_herald-dev_PRESENCE.>";
const PRESENCE: &str = "herald-dev.cmd.presence";
/// How long commands took inside the router, and which.
const SECONDS: &str = "herald_router_command_seconds";
const OF_PRESENCE: &str = "verb=\"presence\"";
/// How often it is looked whether the router is ready.
const LOOK: Duration = Duration::from_millis(5);
/// So many users come and go, and are those who are asked for.
const RESTLESS: usize = 2_000;
/// A router that has lost its place has found it again by then.
const SETTLED: Duration = Duration::from_secs(10);
/// What a router's log says then.
const LOST: &str = "watch begins again";
/// Changes without questions.
const ALONE: Duration = Duration::from_secs(10);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

pub struct World {
    users: usize,
    node: MadeUp,
    client: async_nats::Client,
    nats: NatsServer,
}

/// How long a router took.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// From the start of the process until it was ready.
    pub process: Duration,
    /// From the moment at which NATS told of its watch.
    pub watch: Duration,
    /// From the start of the process until its metric said that all are online; it is set four times a second.
    pub shown: Duration,
    /// CPU that the router and NATS used until then.
    pub cpu: [Duration; 2],
}

/// How long answers took.
#[derive(Debug)]
pub struct Asked {
    /// Of 1,000 users, ascending.
    pub many: Vec<Duration>,
    /// Of one user, after them: what the way alone takes.
    pub one: Vec<Duration>,
    /// From the arrival of the question of 1,000 at the router to its answer, as the router counts it, in seconds: the mean,
    /// and the upper bounds of the buckets within which 99 of 100 and all of them lie.
    pub inside: [f64; 3],
    /// CPU of the router for a question of 1,000, over what the changes alone cost.
    pub cpu: Duration,
    /// Changes made in a second.
    pub changes: f64,
    /// Questions that nobody answered.
    pub unanswered: usize,
    /// How often the router lost its place in the bucket, and read it all again.
    pub lost: usize,
    /// How many of those who came and went the router was wrong about in the end.
    pub wrong: usize,
}

impl World {
    /// NATS with so many users' keys in the bucket.
    pub async fn new(users: usize) -> Self {
        let nats = NatsServer::start().await;
        // The first router makes the bucket.
        drop(dev_router(&nats.url()).await);
        let client = async_nats::connect(nats.url()).await.expect("NATS is there");
        let node = MadeUp::with(&client, users).await;
        Self {
            users,
            node,
            client,
            nats,
        }
    }

    pub async fn router(&self) -> (Node, Started) {
        let mut watches = self.client.subscribe(WATCH_BEGINS).await.expect("a subscription");
        self.client.flush().await.expect("NATS is there");
        let (begun, of_nats) = (Instant::now(), Usage::of(self.nats.id()).cpu);
        let watching = tokio::spawn(async move { watches.next().await.map(|_| Instant::now()) });
        let mut router = Node::spawn("herald-router", ["--dev", "--nats", &self.nats.url(), "--admin", FREE]);
        router.listens("admin").await;
        let admin = router.admin();
        while http::get(admin, "/health/ready").await.status != 200 {
            assert!(begun.elapsed() < PATIENCE, "the router is not ready");
            sleep(LOOK).await;
        }
        let ready = Instant::now();
        let presence = self.ask(&(0..AT_ONCE).collect::<Vec<_>>()).await;
        let presence = presence.expect("a router that is ready answers").0;
        let online = presence.users.iter().filter(|user| user.online).count();
        assert_eq!(online, AT_ONCE, "a router is ready and does not know all");
        let all = self.users as f64;
        while Metrics::of(admin).await.get(ONLINE) < all {
            assert!(begun.elapsed() < PATIENCE, "the router does not show all");
            sleep(LOOK).await;
        }
        let shown = begun.elapsed();
        let watch = timeout(PATIENCE, watching).await.expect("a watch was told");
        let watch = watch.expect("it ends").expect("the subscription stands");
        let started = Started {
            process: ready - begun,
            watch: ready - watch,
            shown,
            cpu: [Usage::of(router.id()).cpu, Usage::of(self.nats.id()).cpu - of_nats],
        };
        (router, started)
    }

    /// Asks `count` times of 1,000 users and then of one user, while `rate` users come or go in a second.
    pub async fn ask_beside(&self, router: &Node, rate: u32, count: usize) -> Asked {
        let changing = self.node.change(rate, RESTLESS);
        // Until it goes at its pace.
        sleep(Duration::from_secs(1)).await;
        let before = Usage::of(router.id()).cpu;
        sleep(ALONE).await;
        let metrics = Metrics::of(router.admin()).await;
        let (begun, alone) = (Instant::now(), Usage::of(router.id()).cpu);
        let many = self.ask_often(count, AT_ONCE).await;
        let (length, used) = (begun.elapsed(), Usage::of(router.id()).cpu - alone);
        let inside = inside(&metrics, &Metrics::of(router.admin()).await);
        let one = self.ask_often(count, 1).await;
        let changing_alone = (alone - before).mul_f64(length.as_secs_f64() / ALONE.as_secs_f64());
        let (changes, truth) = changing.end().await;
        let log = router.log();
        for line in log.lines().filter(|line| line.contains("watch begins")) {
            eprintln!("{line}");
        }
        let unanswered = 2 * count - many.len() - one.len();
        Asked {
            many,
            one,
            inside,
            cpu: used.saturating_sub(changing_alone).div_f64(count as f64),
            changes,
            unanswered,
            wrong: self.wrong(&truth).await,
            lost: log.matches(LOST).count(),
        }
    }

    /// How long the answers took, ascending.
    async fn ask_often(&self, count: usize, users: usize) -> Vec<Duration> {
        let mut took = Vec::new();
        for _ in 0..count {
            let users = sample(&mut rand::rng(), RESTLESS, users).into_vec();
            took.extend(self.ask(&users).await.map(|answer| answer.1));
            sleep(PAUSE).await;
        }
        took.sort_unstable();
        took
    }

    /// About how many users a router is wrong when all is quiet again.
    async fn wrong(&self, truth: &[bool]) -> usize {
        sleep(SETTLED).await;
        let mut wrong = 0;
        let users: Vec<usize> = (0..truth.len()).collect();
        for some in users.chunks(AT_ONCE) {
            let (answer, _) = self.ask(some).await.expect("an answer when all is quiet");
            let pairs = some.iter().zip(&answer.users);
            wrong += pairs.filter(|(user, told)| truth[**user] != told.online).count();
        }
        wrong
    }

    /// As a gateway asks; the answer, and how long it took to come. None: there is no router that serves.
    async fn ask(&self, users: &[usize]) -> Option<(Presence, Duration)> {
        let command = PresenceCommand {
            sender: Some(Sender::default()),
            users: users.iter().map(|user| node::name(*user)).collect(),
            group: None,
        };
        let question = command.encode_to_vec();
        let begun = Instant::now();
        let answer = self.client.request(PRESENCE, question.into()).await;
        let took = begun.elapsed();
        let answer = Reply::decode(answer.ok()?.payload).expect("a reply");
        let Some(reply::Reply::Presence(presence)) = answer.reply else {
            panic!("{answer:?} is no presence");
        };
        assert_eq!(presence.users.len(), users.len());
        Some((presence, took))
    }
}

fn inside(before: &Metrics, after: &Metrics) -> [f64; 3] {
    let since = |what: &str| {
        let name = format!("{SECONDS}_{what}{{{OF_PRESENCE}}}");
        after.get(&name) - before.get(&name)
    };
    let [most, all] = [0.99, 1.0].map(|part| after.bound_since(before, SECONDS, OF_PRESENCE, part));
    [since("sum") / since("count"), most, all]
}
