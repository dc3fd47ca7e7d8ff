//! Presence is right after crashes, pauses and outages: exactly those who are gone are told of, and nobody else flickers.
//! `bench-presence-crash` does the same with 5,000 users, and measures.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use herald_tests::{
    client::{Client, Event, Upgrade},
    cluster::Cluster,
    http::{DEV_API_KEY, post},
    process::Node,
    token,
};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

const USERS: usize = 40;
/// A lease's end, the grace, and as much again for a busy machine.
const GONE: Duration = Duration::from_secs(28);
/// No flicker within this, after what might cause one.
const STAY: Duration = Duration::from_secs(600);
const QUIET: Duration = Duration::from_secs(6);
/// Between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(50);

fn names(kind: &str) -> Vec<String> {
    (0..USERS).map(|n| format!("{kind}{n}")).collect()
}

/// They stay, and answer pings, until dropped.
async fn all(address: SocketAddr, users: &[String]) -> Vec<AbortOnDropHandle<()>> {
    let mut clients = Vec::new();
    for user in users {
        let mut client = Client::dev(address, user).await;
        let stays = async move { while let Some(Event::Frame(_)) = client.event_until(Instant::now() + STAY).await {} };
        clients.push(AbortOnDropHandle::new(tokio::spawn(stays)));
    }
    clients
}

/// One who watches all of these, who are online.
async fn watcher(address: SocketAddr, users: &[String]) -> Client {
    let mut client = Client::dev(address, "watcher").await;
    let answer = client.ask(json!({"watch": {"users": users}}), "watching").await;
    for user in users {
        assert_eq!(answer["users"][user]["online"], true, "{user}");
    }
    client
}

/// What the watcher is told until `count` changes have come, and for a while more.
async fn changes(watcher: &mut Client, count: usize, within: Duration) -> BTreeMap<String, Vec<bool>> {
    let mut told: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let mut seen = 0;
    let end = Instant::now() + within;
    loop {
        let wait = if seen < count { end - Instant::now() } else { QUIET };
        let Ok(push) = timeout(wait, watcher.next("presence")).await else {
            assert!(seen >= count, "only {seen} of {count} within {within:?}: {told:?}");
            return told;
        };
        seen += 1;
        let user = push["user"].as_str().unwrap().to_owned();
        told.entry(user).or_default().push(push["online"] == true);
    }
}

/// Every node gives the same answer: these are online, those not.
async fn assert_presence(gateways: &[Node], online: &[String], offline: &[String]) {
    for gateway in gateways {
        let wrong = wrong_presence(gateway, online, offline).await;
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// Of whom a node's answer is wrong.
async fn wrong_presence(gateway: &Node, online: &[String], offline: &[String]) -> Vec<String> {
    let users = [online, offline].concat();
    let body = json!({"users": users});
    let answer = post(gateway.admin(), "/api/v1/presence", DEV_API_KEY, &body).await;
    let answer = answer.json();
    let wrong = |users: &[String], is: bool| {
        let wrong = users
            .iter()
            .filter(|user| answer["users"][user.as_str()]["online"] != is);
        wrong.cloned().collect::<Vec<_>>()
    };
    [wrong(online, true), wrong(offline, false)].concat()
}

#[tokio::test]
async fn exactly_the_users_of_a_killed_gateway_go_offline_and_each_is_told_once() {
    let mut cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let (stay, go, back) = (names("stay"), names("go"), names("back"));
    let _stay = all(one, &stay).await;
    let _go = all(two, &go).await;
    let _before = all(two, &back).await;
    let mut watcher = watcher(one, &[stay.clone(), go.clone(), back.clone()].concat()).await;
    cluster.gateways[1].kill();
    let _back = all(one, &back).await;
    let told = changes(&mut watcher, USERS, GONE).await;
    let expected: BTreeMap<String, Vec<bool>> = go.iter().map(|user| (user.clone(), vec![false])).collect();
    assert_eq!(told, expected);
    cluster.restart_gateway(1).await;
    cluster.ready().await;
    assert_presence(&cluster.gateways, &[stay, back].concat(), &go).await;
}

#[tokio::test]
async fn a_gateway_that_was_paused_puts_its_users_back() {
    let cluster = Cluster::start(1, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let users = names("user");
    let _users = all(two, &users).await;
    let mut watcher = watcher(one, &users).await;
    cluster.gateways[1].signal(Signal::STOP);
    let told = changes(&mut watcher, USERS, GONE).await;
    assert!(told.values().all(|changes| *changes == [false]), "{told:?}");
    cluster.gateways[1].signal(Signal::CONT);
    let told = changes(&mut watcher, USERS, GONE).await;
    assert_eq!(told.len(), USERS);
    assert!(told.values().all(|changes| *changes == [true]), "{told:?}");
    assert_presence(&cluster.gateways, &users, &[]).await;
}

#[tokio::test]
async fn routers_that_start_again_know_everybody_and_announce_nobody() {
    let mut cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let users = names("user");
    let _users = all(two, &users).await;
    let mut watcher = watcher(one, &users).await;
    for router in &mut cluster.routers {
        router.kill();
    }
    for i in 0..2 {
        cluster.restart_router(i).await;
    }
    cluster.ready().await;
    assert_presence(&cluster.gateways, &users, &["nobody".to_owned()]).await;
    assert!(!watcher.hears("presence", QUIET).await);
}

#[tokio::test]
async fn when_nats_comes_back_without_its_buckets_nobody_flickers_and_no_zombie_stays() {
    let mut cluster = Cluster::start(1, 3).await;
    let [one, two, three] = cluster.addresses()[..] else {
        unreachable!()
    };
    let (users, zombies) = (names("user"), names("zombie"));
    let _users = all(two, &users).await;
    let _zombies = all(three, &zombies).await;
    let mut watcher = watcher(one, &[users.clone(), zombies.clone()].concat()).await;
    cluster.nats.stop();
    cluster.gateways[2].kill();
    cluster.nats.lose_store();
    cluster.nats.start_again().await;
    let told = changes(&mut watcher, USERS, 2 * GONE).await;
    let expected: BTreeMap<String, Vec<bool>> = zombies.iter().map(|user| (user.clone(), vec![false])).collect();
    assert_eq!(told, expected);
    cluster.gateways.truncate(2);
    cluster.ready().await;
    // A router waits for those who are to put themselves back from when it has found the bucket again: its own time.
    for gateway in &cluster.gateways {
        herald_tests::eventually("zombies are gone, others are there", async || {
            wrong_presence(gateway, &users, &zombies).await.is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn when_nats_is_away_for_longer_than_a_lease_nobody_flickers() {
    let mut cluster = Cluster::start(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let users = names("user");
    let _users = all(two, &users).await;
    let mut watcher = watcher(one, &users).await;
    cluster.nats.stop();
    assert!(!watcher.hears("presence", Duration::from_secs(12)).await);
    cluster.nats.start_again().await;
    let admin = cluster.gateways[0].admin();
    let answers = AbortOnDropHandle::new(tokio::spawn(ask_for(admin, users.clone(), 3 * QUIET)));
    assert!(!watcher.hears("presence", 3 * QUIET).await);
    assert!(answers.await.unwrap() > 10, "routers answer again");
    cluster.ready().await;
    assert_presence(&cluster.gateways, &users, &[]).await;
}

#[tokio::test]
async fn routers_that_start_together_with_nats_call_nobody_offline() {
    let mut cluster = Cluster::start(2, 1).await;
    let users = names("user");
    let _users = all(cluster.gateways[0].public(), &users).await;
    let mut watcher = watcher(cluster.gateways[0].public(), &users).await;
    cluster.nats.stop();
    for router in &mut cluster.routers {
        router.kill();
    }
    // Longer than a lease.
    assert!(!watcher.hears("presence", Duration::from_secs(12)).await);
    cluster.nats.start_again().await;
    let admin = cluster.gateways[0].admin();
    let answers = AbortOnDropHandle::new(tokio::spawn(ask_for(admin, users.clone(), 2 * QUIET)));
    for i in 0..2 {
        cluster.restart_router(i).await;
    }
    assert!(!watcher.hears("presence", 2 * QUIET).await);
    assert!(answers.await.unwrap() > 10, "routers answer");
}

/// Asks again and again; each answer that comes must call all of them online. How many came.
async fn ask_for(admin: SocketAddr, users: Vec<String>, time: Duration) -> usize {
    let (end, mut answers) = (Instant::now() + time, 0);
    while Instant::now() < end {
        let answer = post(admin, "/api/v1/presence", DEV_API_KEY, &json!({"users": users})).await;
        if answer.status == 200 {
            let told = answer.json();
            for user in &users {
                assert_eq!(told["users"][user]["online"], true, "{user}, answer {answers}");
            }
            answers += 1;
        }
        sleep(ASK_AGAIN).await;
    }
    answers
}

#[tokio::test]
async fn one_who_cannot_connect_is_not_announced() {
    let mut cluster = Cluster::start(1, 1).await;
    let address = cluster.gateways[0].public();
    let mut watcher = Client::dev(address, "watcher").await;
    let answer = watcher.ask(json!({"watch": {"users": ["bob"]}}), "watching").await;
    assert_eq!(answer["users"]["bob"]["online"], false);
    for router in &mut cluster.routers {
        router.kill();
    }
    let opening = Upgrade::to(address).query("token", &token::dev("bob")).open();
    let (mut bob, _) = opening.await.unwrap();
    assert_eq!(bob.closed().await, 4005, "no router is there to say who bob is");
    assert!(!watcher.hears("presence", QUIET).await);
}

/// While there is no leader no lease can be refreshed: those that end by it are not believed.
#[tokio::test]
async fn a_gateway_and_the_buckets_leader_die_and_only_that_gateways_users_go_offline() {
    let mut cluster = Cluster::start_on_three(2, 2).await;
    let [one, two] = cluster.addresses()[..] else {
        unreachable!()
    };
    let (stay, go) = (names("stay"), names("go"));
    let _stay = all(one, &stay).await;
    let _go = all(two, &go).await;
    let mut watcher = watcher(one, &[stay.clone(), go.clone()].concat()).await;
    let leader = cluster.nats.leader_of("KV_herald-dev_PRESENCE").await;
    cluster.gateways[1].kill();
    cluster.nats.kill(leader);
    let told = changes(&mut watcher, USERS, 2 * GONE).await;
    let expected: BTreeMap<String, Vec<bool>> = go.iter().map(|user| (user.clone(), vec![false])).collect();
    assert_eq!(told, expected);
    cluster.gateways.truncate(1);
    assert_presence(&cluster.gateways, &stay, &go).await;
}
