//! What it costs that a gateway asks NATS, again and again, whether its live copies have told it all: the sweep.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, Event},
    cluster::Cluster,
};

mod window;

use window::{Observer, Window};

/// Clients that connect, or join their groups, at once.
const ABREAST: usize = 128;
/// Turns of joining between two words about it.
const TELL: usize = 10;
/// For longer than a router needs to catch up.
const TRIES: u32 = 20;
const RETRY: Duration = Duration::from_millis(500);
/// With no group joined there are the users' inboxes and broadcasts.
const BROADCASTS: usize = 1;
/// What is still looked at again after the joins, and caches that fill: not measured.
const WARM_UP: u32 = 2;
/// A size that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(400);

/// The processes whose time is counted.
pub const PROCESSES: [&str; 3] = ["gateway", "nats-server", "router"];

pub struct Plan {
    pub connections: usize,
    /// Targets on the gateway, one after another, growing.
    pub sizes: Vec<usize>,
    /// How many sweeps are counted for each size.
    pub sweeps: u32,
}

/// What was measured with one number of targets.
#[derive(Debug)]
pub struct Size {
    pub targets: usize,
    /// The windows in which there was nothing but sweeps and what always is.
    pub quiet: Window,
    pub memory: [u64; PROCESSES.len()],
}

impl Size {
    /// Milliseconds of CPU for one sweep of 1,000 targets, over what a base with few targets uses in the same time.
    pub fn per_thousand(&self, base: &Self, process: usize) -> f64 {
        // Both use c for each target swept and r each second: c is what is left when r is taken out.
        let times = self.quiet.length.as_secs_f64() / base.quiet.length.as_secs_f64();
        let cpu = milliseconds(self.quiet.cpu[process]) - times * milliseconds(base.quiet.cpu[process]);
        let targets = self.quiet.swept(self.targets) - times * base.quiet.swept(base.targets);
        1000.0 * cpu / targets
    }

    /// Bytes for each target beyond those of `base`.
    pub fn memory_each(&self, base: &Self, process: usize) -> f64 {
        let more = self.memory[process] as f64 - base.memory[process] as f64;
        more / (self.targets - base.targets) as f64
    }
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Measures without groups, and then with each size; calls `told` as each is done.
pub async fn run(plan: &Plan, mut told: impl FnMut(&Size)) -> Vec<Size> {
    let cluster = Cluster::start(1, 1).await;
    let observer = Observer::of(&cluster).await;
    let begun = Instant::now();
    let address = cluster.gateways[0].public();
    let clients = stream::iter(0..plan.connections).map(|i| connect(i, address));
    let mut clients: Vec<Member> = clients.buffer_unordered(ABREAST).collect().await;
    eprintln!("{} connections after {:.1?}", clients.len(), begun.elapsed());

    let least = plan.connections + BROADCASTS;
    let mut sizes = Vec::new();
    for targets in std::iter::once(least).chain(plan.sizes.iter().copied()) {
        let begun = Instant::now();
        clients = join_until(clients, targets - least).await;
        eprintln!(
            "{targets} targets after another {:.1?}; waiting for sweeps",
            begun.elapsed()
        );
        let (stop, idlers) = idle(clients);
        let size = measure(&observer, targets, plan.sweeps).await;
        stop.cancel();
        clients = Vec::new();
        for idler in idlers {
            clients.push(idler.await.expect("a client that stays connected"));
        }
        told(&size);
        sizes.push(size);
    }
    sizes
}

/// A connection with groups that nobody else is in.
struct Member {
    number: usize,
    groups: usize,
    client: Client,
}

async fn connect(number: usize, address: SocketAddr) -> Member {
    Member {
        number,
        groups: 0,
        client: Client::dev(address, &format!("user-{number}")).await,
    }
}

/// Spreads `groups` groups over all, so that each is in as many as the next.
async fn join_until(mut members: Vec<Member>, groups: usize) -> Vec<Member> {
    let all = members.len();
    let most = groups.div_ceil(all);
    let least = members.iter().map(|member| member.groups).min().unwrap_or(most);
    // In turns: whoever waited for long with its pongs would be thrown out.
    for turn in least..most {
        let joining = stream::iter(members).map(|member| async {
            let share = (groups + all - 1 - member.number) / all;
            member.join(share.min(turn + 1)).await
        });
        members = joining.buffer_unordered(ABREAST).collect().await;
        if (turn + 1) % TELL == 0 {
            eprintln!("  {} groups each", turn + 1);
        }
    }
    members
}

impl Member {
    /// Each group is written to once: the log has something of every target, as in use.
    async fn join(mut self, groups: usize) -> Self {
        while self.groups < groups {
            let group = format!("group-{}-{}", self.number, self.groups);
            self.insist(json!({"join": {"group": group}})).await;
            self.insist(json!({"send": {"to": {"group": group}, "body": "hello"}}))
                .await;
            self.client.take_waiting();
            self.groups += 1;
        }
        self
    }

    /// So many changes at once may make the only router begin a watch again; then it is away for a moment.
    async fn insist(&mut self, command: Value) {
        for _ in 0..TRIES {
            let answer = self.client.command(command.clone()).await;
            match answer.get("error") {
                None => return,
                Some(error) => assert_eq!(error["retry"], true, "{answer} to {command}"),
            }
            sleep(RETRY).await;
        }
        panic!("{command} fails again and again");
    }

    async fn idle(mut self, stop: CancellationToken) -> Self {
        // Reading answers the server's pings, too.
        let far = || tokio::time::Instant::now() + LONGEST;
        loop {
            tokio::select! {
                () = stop.cancelled() => return self,
                event = self.client.event_until(far()) => match event {
                    Some(Event::Frame(_)) | None => {}
                    Some(end) => panic!("connection {} ended: {end:?}", self.number),
                }
            }
        }
    }
}

fn idle(members: Vec<Member>) -> (CancellationToken, Vec<JoinHandle<Member>>) {
    let stop = CancellationToken::new();
    let idlers = members.into_iter();
    let idlers = idlers.map(|member| tokio::spawn(member.idle(stop.clone()))).collect();
    (stop, idlers)
}

async fn measure(observer: &Observer, targets: usize, sweeps: u32) -> Size {
    let end = Instant::now() + LONGEST;
    while observer.targets().await != targets {
        assert!(
            Instant::now() < end,
            "{} targets, not {targets}",
            observer.targets().await
        );
        sleep(Duration::from_millis(500)).await;
    }
    let mut before = observer.after_a_sweep().await;
    for _ in 0..WARM_UP {
        before = observer.after_a_sweep().await;
    }
    let mut quiet = Window::default();
    while quiet.sweeps < sweeps {
        assert!(
            Instant::now() < end,
            "only {} quiet sweeps of {targets} targets",
            quiet.sweeps
        );
        let after = observer.after_a_sweep().await;
        let window = after.since(&before);
        if !window.reading {
            quiet.add(&window);
        }
        before = after;
    }
    assert_eq!(observer.targets().await, targets, "some came or went");
    Size {
        targets,
        quiet,
        memory: observer.usages().map(|usage| usage.memory),
    }
}
