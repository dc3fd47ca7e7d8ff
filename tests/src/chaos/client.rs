//! Clients that send, hear, come back, and write everything down.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    check::{Stored, Told, missing},
    world::World,
};
use crate::{client::Dialect, follower::Follower, gateway::SECRET, outgoing::Sent, token};

const CLIENTS: usize = 40;
/// Members of each group.
const GROUP: usize = 10;
/// Between two messages of one client.
const PACE: Duration = Duration::from_millis(500);
/// A connect that takes longer is tried elsewhere.
const CONNECT: Duration = Duration::from_secs(4);
/// So long without a sign of life, a client asks for one; twice so long, it goes elsewhere.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// What was answered `sent`, by target.
type Ledger = BTreeMap<String, BTreeSet<u64>>;

/// What a client reports.
enum Report {
    Sent(Vec<Sent>),
    /// All that it was told; complete or not.
    Told(Box<Told>, bool),
    /// It was treated as no client may be.
    Fault(String),
}

pub struct Clients {
    tasks: JoinSet<()>,
    reports: mpsc::UnboundedReceiver<Report>,
    sending: CancellationToken,
    ledger: watch::Sender<Option<Arc<Ledger>>>,
    leave: [CancellationToken; 2],
    users: [Vec<String>; 2],
}

pub struct Records {
    pub told: Vec<Told>,
    pub faults: Vec<String>,
    /// When the last had been given everything.
    pub complete: Option<Instant>,
    tasks: JoinSet<()>,
    leave: [CancellationToken; 2],
    users: [Vec<String>; 2],
}

/// All are connected when this returns.
pub async fn start() -> Clients {
    let (report, reports) = mpsc::unbounded_channel();
    let (ledger, ledger_of_clients) = watch::channel(None);
    let (sending, leave) = (
        CancellationToken::new(),
        [CancellationToken::new(), CancellationToken::new()],
    );
    let mut users: [Vec<String>; 2] = Default::default();
    let mut tasks = JoinSet::new();
    let peers = stream::iter(0..CLIENTS).map(Peer::start).buffered(8);
    let peers: Vec<Peer> = peers.collect().await;
    for (i, peer) in peers.into_iter().enumerate() {
        users[i % 2].push(peer.told.user.clone());
        let report = report.clone();
        let live = peer.live(
            sending.clone(),
            report.clone(),
            ledger_of_clients.clone(),
            leave[i % 2].clone(),
        );
        tasks.spawn(async move {
            // The tests' client panics where it is treated as no client may be.
            if let Err(panic) = AssertUnwindSafe(live).catch_unwind().await {
                let why = panic.downcast_ref::<String>().cloned();
                let _ = report.send(Report::Fault(why.unwrap_or_else(|| "a client panicked".to_owned())));
            }
        });
    }
    Clients {
        tasks,
        reports,
        sending,
        ledger,
        leave,
        users,
    }
}

impl Clients {
    pub fn no_more_to_send(&self) {
        self.sending.cancel();
    }

    /// Waits until everybody has been given all that was answered `sent`, or until `end`.
    pub async fn records(mut self, end: Instant) -> Records {
        let (mut told, mut faults, mut ledger) = (Vec::new(), Vec::new(), Ledger::new());
        let mut senders = 0;
        // A moment more than the clients have themselves.
        let end = end + Duration::from_secs(5);
        let mut complete = true;
        while told.len() + faults.len() < CLIENTS {
            match timeout_at(end, self.reports.recv()).await {
                Ok(Some(Report::Sent(sent))) => {
                    senders += 1;
                    for sent in sent {
                        ledger.entry(sent.target).or_default().insert(sent.sequence);
                    }
                }
                Ok(Some(Report::Told(client, whole))) => {
                    complete &= whole;
                    told.push(*client);
                }
                Ok(Some(Report::Fault(why))) => faults.push(why),
                Ok(None) | Err(_) => {
                    faults.push(format!(
                        "{} clients did not report",
                        CLIENTS - told.len() - faults.len()
                    ));
                    break;
                }
            }
            if senders + faults.len() == CLIENTS && self.ledger.borrow().is_none() {
                self.ledger.send_replace(Some(Arc::new(ledger.clone())));
            }
        }
        Records {
            complete: (complete && faults.is_empty()).then(Instant::now),
            told,
            faults,
            tasks: self.tasks,
            leave: self.leave,
            users: self.users,
        }
    }
}

impl Records {
    /// Who is connected, and with how many connections.
    pub fn online(&self) -> BTreeMap<String, u64> {
        let all = self.users.iter().flatten();
        all.map(|user| (user.clone(), 1)).collect()
    }

    /// Half of the clients go without a word; who is connected then.
    pub fn halve(&self) -> BTreeMap<String, u64> {
        self.leave[1].cancel();
        let stay = self.users[0].iter().map(|user| (user.clone(), 1));
        let gone = self.users[1].iter().map(|user| (user.clone(), 0));
        stay.chain(gone).collect()
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.leave.iter().for_each(CancellationToken::cancel);
        self.tasks.abort_all();
    }
}

struct Peer {
    index: usize,
    follower: Follower,
    told: Told,
}

impl Peer {
    async fn start(index: usize) -> Self {
        let user = format!("u{index}");
        let group = format!("g{}", index / GROUP);
        let claims = token::merged(token::claims(&user), &json!({"groups": [group]}));
        let mut follower = Follower::new(&user, Dialect::BOTH[index % 2], token::hs256(SECRET, &claims));
        follower.heartbeat = Some(HEARTBEAT);
        follower.by_frame = index.is_multiple_of(3);
        let told = Told {
            targets: vec![format!("user.{user}"), format!("group.{group}")],
            user,
            ..Told::default()
        };
        let mut peer = Self { index, follower, told };
        peer.come_back().await;
        peer
    }

    async fn live(
        mut self,
        sending: CancellationToken,
        report: mpsc::UnboundedSender<Report>,
        mut ledger: watch::Receiver<Option<Arc<Ledger>>>,
        leave: CancellationToken,
    ) {
        let mut n = 0;
        while !sending.is_cancelled() {
            self.send(n);
            n += 1;
            let pace = rand::rng().random_range(0.5..1.5);
            self.hear(PACE.mul_f64(pace)).await;
        }
        let begun = Instant::now();
        let end = begun + super::HEALED_WITHIN;
        while !self.follower.outgoing.is_empty() && Instant::now() < end {
            self.hear(PACE / 4).await;
        }
        // Nobody waits for a run that has failed.
        let _ = report.send(Report::Sent(self.follower.outgoing.sent.clone()));
        let mut whole = false;
        while !whole && Instant::now() < end {
            self.hear(PACE / 4).await;
            let ledger = ledger.borrow_and_update().clone();
            whole = ledger.is_some_and(|ledger| self.missing(&ledger) == 0);
        }
        let _ = report.send(Report::Told(Box::new(self.all_told()), whole));
        let stay = async {
            loop {
                self.hear(PACE).await;
            }
        };
        leave.run_until_cancelled(stay).await;
    }

    /// Half to one other client, half to the own group.
    fn send(&mut self, n: usize) {
        let body = format!("{}-{n}", self.told.user);
        let to: Value = if n.is_multiple_of(2) {
            json!({"user": format!("u{}", (self.index + 1 + n) % CLIENTS)})
        } else {
            json!({"group": format!("g{}", self.index / GROUP)})
        };
        self.told.tried.push((crate::heard::target_of(&to), body.clone()));
        self.follower.outgoing.push(to, json!(body), format!("k{n}"));
    }

    async fn hear(&mut self, time: Duration) {
        if self.follower.run(Instant::now() + time).await.is_err() {
            self.come_back().await;
        }
    }

    /// To any gateway that takes it, again and again.
    async fn come_back(&mut self) {
        loop {
            let gateway = *World::gateways().choose(&mut rand::rng()).expect("there are gateways");
            if let Ok(Ok(())) = timeout(CONNECT, self.follower.try_resume(gateway.public())).await {
                return;
            }
            let pause = rand::rng().random_range(100..400);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn missing(&self, ledger: &Ledger) -> usize {
        let heard: BTreeSet<(&str, u64)> = self
            .told
            .targets
            .iter()
            .flat_map(|target| {
                let items = self.follower.heard.of(target).iter();
                items.map(move |item| (target.as_str(), item.sequence))
            })
            .collect();
        missing(ledger, &self.told.targets, |target, sequence| {
            heard.contains(&(target, sequence))
        })
    }

    fn all_told(&self) -> Told {
        let text = |body: &Value| body.as_str().unwrap_or_default().to_owned();
        let sent = self.follower.outgoing.sent.iter().map(|sent| Stored {
            target: sent.target.clone(),
            sequence: sent.sequence,
            body: text(&sent.body),
        });
        let heard = self.follower.heard.targets.iter().flat_map(|(target, items)| {
            items.iter().map(|item| Stored {
                target: target.clone(),
                sequence: item.sequence,
                body: text(&item.body),
            })
        });
        Told {
            sent: sent.collect(),
            heard: heard.collect(),
            late: self.follower.heard.late,
            gaps: self.follower.gaps + self.follower.notices.iter().filter(|code| *code == "gap").count(),
            ..self.told.clone()
        }
    }
}
