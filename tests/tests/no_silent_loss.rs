//! Cut off, slow, asleep: whatever happens between a client and the log, the cursor and the sweep make up for it.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use herald_tests::{
    client::Dialect,
    cluster::Cluster,
    eventually,
    follower::Follower,
    gateway::{Config, SECRET},
    metrics::Metrics,
    monitor::Monitor,
    nats::NatsServer,
    process::Node,
    token,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, interval},
};

const GROUPS: usize = 20;
/// Messages in a second, over all senders.
const RATE: u32 = 500;
const SENDERS: u32 = 5;
const CUTS: usize = 200;

fn groups() -> Vec<String> {
    (0..GROUPS).map(|i| format!("g{i}")).collect()
}

/// The target of message `n`: bob's groups, his inbox and all, in turn.
fn target(n: usize) -> Value {
    match n % (GROUPS + 2) {
        0 => json!({"user": "bob"}),
        1 => json!({"all": true}),
        i => json!({"group": format!("g{}", i - 2)}),
    }
}

/// Sends at its share of the rate until told to stop; then what was sent.
async fn chatter(address: SocketAddr, name: String, stop: watch::Receiver<bool>) -> Follower {
    let token = token::dev_with(&name, &json!({"groups": groups(), "broadcast": true}));
    let mut sender = Follower::new(&name, Dialect::Json, token);
    sender.resume(address).await;
    let mut ticks = interval(Duration::from_secs(1) / (RATE / SENDERS));
    for n in 0.. {
        if *stop.borrow() {
            break;
        }
        sender
            .outgoing
            .push(target(n), json!(format!("{name}-{n}")), format!("k{n}"));
        sender.run(ticks.tick().await + ticks.period()).await.unwrap();
    }
    sender.until("all is sent", |sender| sender.outgoing.is_empty()).await;
    sender
}

#[tokio::test]
async fn one_who_is_cut_at_200_random_instants_misses_nothing() {
    let cluster = Cluster::start(2, 2).await;
    let addresses = cluster.addresses();
    let token = token::dev_with("bob", &json!({"groups": groups()}));
    let mut bob = Follower::new("bob", Dialect::Json, token);
    bob.resume(addresses[0]).await;
    let (stop, stopped) = watch::channel(false);
    let senders: Vec<_> = (0..SENDERS)
        .map(|i| tokio::spawn(chatter(addresses[i as usize % 2], format!("s{i}"), stopped.clone())))
        .collect();
    let seed = rand::rng().random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for cut in 1..=CUTS {
        // Now and then long enough that cursors are pushed.
        let longest = if cut % 20 == 0 { 6_500 } else { 120 };
        let length = Duration::from_millis(random.random_range(0..longest));
        bob.run(Instant::now() + length).await.unwrap();
        bob.cut();
        bob.resume(addresses[random.random_range(0..2)]).await;
        assert_eq!(bob.connected["resumed"], true, "{}", bob.connected);
    }
    stop.send(true).unwrap();
    let mut sent = Vec::new();
    for sender in senders {
        sent.extend(sender.await.unwrap().outgoing.sent);
    }
    sent.sort_by_key(|sent| sent.sequence);
    bob.until("all", |bob| bob.heard.count() >= sent.len()).await;
    eprintln!(
        "sent {}, repeated {}, cursors pushed {}",
        sent.len(),
        bob.heard.repeated,
        bob.cursors
    );
    for (target, heard) in &bob.heard.targets {
        let sent = sent.iter().filter(|sent| sent.target == *target);
        let sent: Vec<&str> = sent.map(|sent| sent.id.as_str()).collect();
        let heard: Vec<&str> = heard.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(heard, sent, "{target}");
    }
    assert_eq!(bob.heard.count(), sent.len());
    assert_eq!((bob.heard.late, bob.gaps), (0, 0));
    assert!(bob.cursors > 0, "cursors come under load too");
}

/// Big enough that a thousand of them are more than the kernel and the outbox take in for one who does not read.
const BULK: usize = 8 << 10;
const BULK_COUNT: usize = 1_000;

/// What the gateway counts as connected.
async fn connections(gateway: &Node) -> f64 {
    let metrics = Metrics::of(gateway.admin()).await;
    metrics.sum("herald_gateway_connections", &["state=\"connected\""])
}

#[tokio::test]
async fn a_slow_reader_resumes_and_has_lost_nothing() {
    let config = Config {
        limits: "frame = \"16KiB\"\noutbox = \"64KiB\"\ncommands_per_second = 100000\ncommands_burst = 100000".into(),
        router: r#"client_join = ["*"]"#.into(),
        rest: "[log]\nmax_messages_per_target = 5000\n".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let member = |name: &str| {
        let claims = token::merged(token::claims(name), &json!({"groups": ["g1"]}));
        Follower::new(name, Dialect::Json, token::hs256(SECRET, &claims))
    };
    let mut slow = member("slow");
    slow.resume_narrow(address).await;
    let (mut neighbour, mut sender) = (member("neighbour"), member("sender"));
    neighbour.resume(address).await;
    sender.resume(address).await;
    let pad = "x".repeat(BULK);
    let mut count = 0;
    while connections(&gateway).await != 2.0 {
        assert!(count < BULK_COUNT, "the slow reader was never given up");
        // Less at once than the outbox holds: on a busy machine even a good reader is late sometimes.
        for n in count..count + 4 {
            let body = json!({"n": n, "pad": pad});
            sender.outgoing.push(json!({"group": "g1"}), body, format!("k{n}"));
        }
        count += 4;
        sender
            .until("all is sent", |sender| {
                sender.outgoing.is_empty() && sender.heard.count() >= count
            })
            .await;
        // `until` fails where the connection ends.
        neighbour
            .until("all", |neighbour| neighbour.heard.count() >= count)
            .await;
    }
    let end = slow.run(Instant::now() + herald_tests::PATIENCE).await;
    assert!(
        end.as_ref().is_err_and(|why| why.starts_with("closed with 4001")),
        "{end:?}"
    );
    assert!(slow.heard.count() < count, "it was closed before it had all");

    // What it missed is far more than its outbox holds, and it reads all the while: no reason to close it again.
    let connected = slow.resume(address).await;
    assert_eq!(connected["resumed"], true, "{connected}");
    slow.until("all", |slow| slow.heard.count() >= count).await;
    sender.until("its own", |sender| sender.heard.count() >= count).await;
    for member in [&slow, &neighbour] {
        let numbers: Vec<Value> = member
            .heard
            .of("group.g1")
            .iter()
            .map(|item| item.body["n"].clone())
            .collect();
        assert_eq!(numbers.len(), count, "{}", member.user);
        assert_eq!((member.heard.late, member.gaps), (0, 0), "{}", member.user);
        assert_eq!(
            member.heard.ids("group.g1"),
            sender.heard.ids("group.g1"),
            "{}",
            member.user
        );
    }
    assert_eq!(neighbour.heard.repeated, 0);
}

/// NATS gives up a gateway that sleeps, and with it all that its subscriptions would have brought. The connections to
/// its clients stand all the while.
#[tokio::test]
async fn what_a_sleeping_gateway_missed_it_finds_when_it_wakes() {
    let nats = NatsServer::start_with("ping_interval: \"2s\"\nping_max: 1\n").await;
    let mut cluster = Cluster::over(nats.url(), nats, 1, 2, "").await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let mut alice = Follower::dev(one, "alice", &["g1"]).await;
    let mut bob = Follower::dev(two, "bob", &["g1"]).await;
    alice
        .outgoing
        .push(json!({"group": "g1"}), json!("before"), "before".into());
    alice.until("it is sent", |alice| alice.outgoing.is_empty()).await;
    bob.until_heard(&json!("before")).await;
    let monitor = Monitor::of(&cluster.nats.url()).await;
    let node = bob.connected["node"].as_str().unwrap().to_owned();
    assert!(monitor.is_connected(&node).await);
    cluster.gateways[1].signal(Signal::STOP);
    eventually("NATS gives the gateway up", async || !monitor.is_connected(&node).await).await;
    for n in 0..20_u32 {
        let to = if n.is_multiple_of(2) {
            json!({"group": "g1"})
        } else {
            json!({"user": "bob"})
        };
        alice.outgoing.push(to, json!(n), format!("k{n}"));
        alice.until("it is sent", |alice| alice.outgoing.is_empty()).await;
    }
    cluster.gateways[1].signal(Signal::CONT);
    bob.until("all", |bob| bob.heard.count() >= 21).await;
    let group: Vec<Value> = std::iter::once(json!("before"))
        .chain((0..20).step_by(2).map(Value::from))
        .collect();
    assert_eq!(bob.heard.bodies("group.g1"), group);
    let inbox: Vec<Value> = (1..20).step_by(2).map(Value::from).collect();
    assert_eq!(bob.heard.bodies("user.bob"), inbox);
    assert!(cluster.gateways[1].running());
}
