//! Routers that are restarted in turn while commands come in bursts: by many schedules in virtual time, on the memory bus.

use bytes::Bytes;
use herald_proto::{
    Target,
    cluster::{Reply, SendBatch, SendCommand, reply},
    limits,
    subject::Names,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::*;
use crate::{
    bus::{LogLimits, memory},
    policy::Policy,
};

/// `HERALD_SEEDS=17` or `0..100000` for others.
const SEEDS: std::ops::Range<u64> = 0..1_000;

struct Node {
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

async fn launch(bus: Bus, name: &str) -> Node {
    let router = Router::new(bus, Policy::default(), Names::new("herald"));
    let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
    let mut readiness = start(router, name, shutdown.clone(), &tasks);
    readiness.serving.wait_for(|serving| *serving).await.unwrap();
    Node { shutdown, tasks }
}

/// Ends when another runs in its place.
fn replace(old: Node, bus: Bus, name: String) -> JoinHandle<Node> {
    // From this moment on, with whatever is on its way.
    old.shutdown.cancel();
    tokio::spawn(async move {
        old.tasks.close();
        old.tasks.wait().await;
        launch(bus, &name).await
    })
}

async fn send(bus: Bus, n: u64) {
    let command = SendCommand {
        to: Some(Target::user("bob").to_proto()),
        id: n.to_string(),
        durable: true,
        dedup: n.to_string(),
        ..SendCommand::default()
    };
    let batch = SendBatch {
        sends: vec![command.encode_to_vec().into()],
    };
    let payload = Bytes::from(batch.encode_to_vec());
    let answer = bus.pubsub.request("herald.cmd.send", payload, limits::ROUTER).await;
    let replies = match Reply::decode(answer.unwrap()).unwrap().reply {
        Some(reply::Reply::Batch(batch)) => batch.replies,
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(
            replies[..],
            [Reply {
                reply: Some(reply::Reply::Sent(_))
            }]
        ),
        "{replies:?}"
    );
}

async fn schedule(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let bus = memory::bus(LogLimits {
        max_age: Duration::from_secs(3_600),
        max_messages_per_target: 10_000,
        max_bytes: 1 << 24,
        replicas: None,
    });
    let mut nodes = [launch(bus.clone(), "r0").await, launch(bus.clone(), "r1").await];
    let (mut sends, mut sent) = (JoinSet::new(), 0);
    let mut burst = |dice: &mut StdRng, sends: &mut JoinSet<()>| {
        for _ in 0..dice.random_range(0..20) {
            sent += 1;
            sends.spawn(send(bus.clone(), sent));
        }
        sent
    };
    let mut total = 0;
    for _ in 0..dice.random_range(1..6) {
        for _ in 0..dice.random_range(0..5) {
            total = burst(&mut dice, &mut sends);
            sleep(Duration::from_millis(dice.random_range(0..50))).await;
        }
        let at = dice.random_range(0..2);
        burst(&mut dice, &mut sends);
        // Sometimes they have arrived by then, and sometimes they are on their way.
        if dice.random() {
            tokio::task::yield_now().await;
        }
        let placeholder = Node {
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let old = std::mem::replace(&mut nodes[at], placeholder);
        let replaced = replace(old, bus.clone(), format!("r{at}"));
        while !replaced.is_finished() {
            total = burst(&mut dice, &mut sends);
            sleep(Duration::from_millis(dice.random_range(1..300))).await;
        }
        nodes[at] = replaced.await.unwrap();
    }
    while let Some(done) = sends.join_next().await {
        assert!(done.is_ok(), "seed {seed}: {done:?}");
    }
    let page = bus.log.read(&Target::user("bob"), 0, 10_000).await.unwrap();
    assert_eq!(page.count(), total, "seed {seed}: each once");
}

fn seeds() -> std::ops::Range<u64> {
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
fn while_routers_are_replaced_in_turn_every_command_is_answered_and_done_once() {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(schedule(seed));
    }
}
