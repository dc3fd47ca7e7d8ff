//! A receiver is down while events come, and a router that may be the one that delivers is killed meanwhile.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde_json::json;
use tokio::time::{Instant, interval};

use super::Receiver;
use crate::{api::Api, cluster::Cluster};

/// Users that each get every event of their own in order.
const USERS: usize = 10;

pub struct Outage {
    /// The receiver is up for this, down for this, and up again.
    pub up: Duration,
    pub down: Duration,
    /// Events a second, in steps of ten.
    pub rate: usize,
}

#[derive(Debug)]
pub struct Report {
    pub events: usize,
    /// Those that came again, and were known by their ids.
    pub twice: usize,
    pub requests: usize,
    /// From when the receiver was back to the last event.
    pub caught_up: Duration,
    pub missing: usize,
    pub out_of_order: usize,
}

/// Users join one group after another: each is an event.
async fn joins(api: &Api, from: usize, time: Duration, rate: usize) -> usize {
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
    let mut tick =
        interval(Duration::from_secs(1) * u32::try_from(USERS).expect("few") / u32::try_from(rate).expect("few"));
    let end = Instant::now() + time;
    let mut n = from;
    while Instant::now() < end {
        tick.tick().await;
        let path = format!("groups/g{n:05}/members");
        let changes = json!({ "add": users });
        // A router that is killed answers nothing: then the outcome is unknown, and it is asked again.
        loop {
            let response = api.call("POST", &path, Some(&changes)).await;
            let failed = response.status != 200 || response.body.contains("\"error\"");
            if !failed {
                break;
            }
        }
        n += 1;
    }
    n
}

impl Outage {
    pub async fn run(&self) -> Report {
        let mut receiver = Receiver::start().await;
        let config = receiver.table("hook", "");
        let mut cluster = Cluster::start_with(2, 1, &config).await;
        let api = Api::dev(cluster.gateways[0].admin());
        let mut n = joins(&api, 0, self.up, self.rate).await;
        receiver.down().await;
        n = joins(&api, n, self.down / 2, self.rate).await;
        let delivering = deliverer(&cluster).await;
        cluster.routers[delivering].kill();
        n = joins(&api, n, self.down / 2, self.rate).await;
        receiver.up().await;
        let back = Instant::now();
        n = joins(&api, n, self.up, self.rate).await;
        let expected = n * USERS;
        // A change that a router has told and not done, because it died, is told again when it is asked for again.
        let end = Instant::now() + Duration::from_secs(60);
        let mut of_users = told(&receiver);
        while of_users.values().map(Vec::len).sum::<usize>() < expected && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
            of_users = told(&receiver);
        }
        let caught_up = back.elapsed();
        let events = of_users.values().map(Vec::len).sum();
        let unordered = |of: &Vec<String>| of.windows(2).filter(|two| two[0] > two[1]).count();
        Report {
            events,
            twice: receiver.twice(),
            requests: receiver.requests(),
            caught_up,
            missing: expected.saturating_sub(events),
            out_of_order: of_users.values().map(unordered).sum(),
        }
    }
}

/// Which groups each user has joined, each once, in the order in which that was told first.
fn told(receiver: &Receiver) -> BTreeMap<String, Vec<String>> {
    let mut of_users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for event in receiver.events() {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        if event["kind"] == "group" && seen.insert((text("user"), text("group"))) {
            of_users.entry(text("user")).or_default().push(text("group"));
        }
    }
    of_users
}

/// Which router delivers.
async fn deliverer(cluster: &Cluster) -> usize {
    let mut found = None;
    crate::eventually("a router delivers", async || {
        found = cluster
            .routers
            .iter()
            .position(|router| router.log().contains("this router delivers"));
        found.is_some()
    })
    .await;
    found.expect("just found")
}
