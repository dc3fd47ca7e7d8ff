//! A gateway dies with all its users; some of them come back elsewhere, and others watch.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    ABREAST, AT_ONCE,
    traveller::{Addresses, Traveller},
    watcher::Watcher,
    wrong,
};
use crate::{PATIENCE, cluster::Cluster};

/// Lease, grace, and two seconds more.
pub const BAR: Duration = Duration::from_secs(10 + 2 + 2);
/// What comes later than it may is still heard until then.
const HEARD: Duration = Duration::from_secs(25);
/// One user in so many comes back.
const RETURNING: usize = 5;
/// One user in so many lives on the gateway that stays.
const STAYING: usize = 10;

#[derive(Debug, Default)]
pub struct Report {
    pub watched: usize,
    /// Who went for good, and who of them was told to be offline.
    pub gone: usize,
    pub told: usize,
    /// Since the kill, of their `offline`.
    pub first: Duration,
    pub last: Duration,
    /// Pushes beyond the one `offline` of each, `online` among them.
    pub doubles: usize,
    /// Pushes about those who came back, or had never gone.
    pub wrong: usize,
    /// The last of those who came back.
    pub returned: Duration,
    /// Users about whom an answer of the application's API was wrong: when all must be right, and at the end.
    pub wrong_in_time: usize,
    pub wrong_at_end: usize,
}

pub async fn run(users: usize) -> Report {
    let mut cluster = Cluster::start(2, 2).await;
    let [stays, dies] = [0, 1].map(|i| cluster.gateways[i].public());
    let admin = [cluster.gateways[0].admin()];
    let leaving = connect("u", users, dies).await;
    let staying = connect("r", users / STAYING, stays).await;
    let mut truth: BTreeMap<String, u64> = leaving.iter().chain(&staying).map(|t| (t.user.clone(), 1)).collect();
    until_right(&admin, &truth).await;

    let stop = CancellationToken::new();
    let mut travelling = JoinSet::new();
    let elsewhere: Addresses = Arc::new(RwLock::new(vec![stays]));
    for (i, traveller) in leaving.into_iter().enumerate() {
        let back = i % RETURNING == 0;
        if !back {
            truth.insert(traveller.user.clone(), 0);
        }
        travelling.spawn(traveller.travel(back.then(|| elsewhere.clone()), stop.clone()));
    }
    for traveller in staying {
        travelling.spawn(traveller.travel(None, stop.clone()));
    }
    let mut watching = JoinSet::new();
    for watcher in watchers(&truth, &elsewhere).await {
        watching.spawn(watcher.hear(stop.clone()));
    }

    let killed = Instant::now();
    cluster.gateways[1].kill();
    sleep_until(killed + BAR).await;
    let wrong_in_time = wrong(&admin, &truth).await;
    sleep_until(killed + HEARD).await;
    let wrong_at_end = wrong(&admin, &truth).await;
    stop.cancel();
    let mut report = judge(killed, &truth, watching.join_all().await);
    for traveller in travelling.join_all().await {
        for (_, to) in traveller.absences {
            report.returned = report.returned.max(to - killed);
        }
    }
    Report {
        wrong_in_time,
        wrong_at_end,
        ..report
    }
}

/// Users `<prefix>0` and so on.
async fn connect(prefix: &str, count: usize, address: SocketAddr) -> Vec<Traveller> {
    let connecting = stream::iter(0..count).map(|i| Traveller::start(format!("{prefix}{i}"), address));
    connecting.buffered(ABREAST).collect().await
}

pub(super) async fn until_right(admins: &[SocketAddr], truth: &BTreeMap<String, u64>) {
    let end = Instant::now() + PATIENCE;
    while wrong(admins, truth).await > 0 {
        assert!(Instant::now() < end, "presence never was right");
        sleep(Duration::from_millis(200)).await;
    }
}

/// As few as may watch all.
pub(super) async fn watchers(truth: &BTreeMap<String, u64>, addresses: &Addresses) -> Vec<Watcher> {
    let users: Vec<String> = truth.keys().cloned().collect();
    let mut watchers = Vec::new();
    for some in users.chunks(AT_ONCE) {
        let name = format!("watcher-{}", watchers.len());
        let watcher = Watcher::start(name, some.to_vec(), addresses.clone()).await;
        assert!(
            watcher.absent.is_empty(),
            "offline at the beginning: {:?}",
            watcher.absent
        );
        watchers.push(watcher);
    }
    watchers
}

fn judge(killed: Instant, truth: &BTreeMap<String, u64>, watchers: Vec<Watcher>) -> Report {
    let mut report = Report {
        watched: truth.len(),
        gone: truth.values().filter(|connections| **connections == 0).count(),
        first: Duration::MAX,
        ..Report::default()
    };
    let mut told: HashMap<String, usize> = HashMap::new();
    for push in watchers.into_iter().flat_map(|watcher| watcher.pushes) {
        if truth[&push.user] > 0 {
            eprintln!("{:.1?} after the kill: {push:?}", push.at - killed);
            report.wrong += 1;
            continue;
        }
        let times = told.entry(push.user).or_default();
        if *times > 0 || push.online {
            report.doubles += 1;
        }
        if !push.online {
            *times += 1;
            report.first = report.first.min(push.at - killed);
            report.last = report.last.max(push.at - killed);
        }
    }
    report.told = told.values().filter(|times| **times > 0).count();
    report
}
