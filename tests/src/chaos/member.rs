//! Clients that join and leave groups all the time, and know which of it was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::{Rng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::{
    client::{Client, Dialect, Event, Upgrade},
    gateway::SECRET,
    token,
};

const MEMBERS: usize = 6;
const GROUPS: [&str; 4] = ["m0", "m1", "m2", "m3"];
/// A connect or a command that takes longer is tried elsewhere.
const ANSWER: Duration = Duration::from_secs(6);

/// A command that was not answered may be carried out so much later, as by a router that stood still: longer than any does.
const LATE: Duration = Duration::from_secs(15);

/// Of a group whose membership is wrong, so many commands are told.
const TOLD: usize = 12;

/// The groups of each user, of those about which the last answer is known.
pub type Memberships = BTreeMap<String, Known>;

#[derive(Debug, Clone, Default)]
pub struct Known {
    pub member: BTreeSet<String>,
    pub not: BTreeSet<String>,
    /// When a command about the group last went unanswered.
    unanswered: BTreeMap<String, Instant>,
    /// What was asked, of which group, and what came of it, with the time of each.
    pub history: Vec<(String, String)>,
    /// A refusal that no client should have got.
    pub fault: Option<String>,
}

impl Known {
    /// What came last of what was asked about a group.
    pub fn last_of(&self, group: &str) -> String {
        let of_group = self.history.iter().filter(|(of, _)| of == group);
        let last: Vec<&str> = of_group.rev().take(TOLD).map(|(_, what)| what.as_str()).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n    ")
    }
}

pub struct Members {
    tasks: JoinSet<(String, Known)>,
    stop: CancellationToken,
    give_up: CancellationToken,
}

pub fn start() -> Members {
    let (stop, give_up) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    for i in 0..MEMBERS {
        let member = Member {
            user: format!("m{i}"),
            client: None,
            known: Known::default(),
        };
        tasks.spawn(member.live(stop.clone(), give_up.clone()));
    }
    Members { tasks, stop, give_up }
}

impl Members {
    /// What has begun is tried until it is answered, or until `end`.
    pub async fn end(mut self, end: Instant) -> Memberships {
        self.stop.cancel();
        let give_up = self.give_up.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(end).await;
            give_up.cancel();
        });
        let mut all = Memberships::new();
        while let Some(member) = self.tasks.join_next().await {
            let (user, known) = member.expect("a member does not panic");
            all.insert(user, known);
        }
        all
    }
}

struct Member {
    user: String,
    client: Option<Client>,
    known: Known,
}

impl Member {
    async fn live(mut self, stop: CancellationToken, give_up: CancellationToken) -> (String, Known) {
        while !stop.is_cancelled() && self.known.fault.is_none() {
            let group = *GROUPS.choose(&mut rand::rng()).expect("there are groups");
            let join = rand::rng().random_bool(0.5);
            self.known.member.remove(group);
            self.known.not.remove(group);
            if give_up.run_until_cancelled(self.change(group, join)).await.is_none() {
                break;
            }
            let unanswered = self.known.unanswered.get(group);
            if unanswered.is_none_or(|at| at.elapsed() > LATE) {
                let known = if join {
                    &mut self.known.member
                } else {
                    &mut self.known.not
                };
                known.insert(group.to_owned());
            }
            let pause = rand::rng().random_range(20..400);
            sleep(Duration::from_millis(pause)).await;
        }
        (self.user, self.known)
    }

    /// Tries until it is answered.
    async fn change(&mut self, group: &str, join: bool) {
        let (verb, answer) = if join { ("join", "joined") } else { ("leave", "left") };
        loop {
            let asked = now();
            let answered = timeout(ANSWER, self.ask(json!({ verb: {"group": group} }))).await;
            let what = format!("{asked} {verb}, {} {:?}", now(), answered.as_ref().ok());
            self.known.history.push((group.to_owned(), what));
            match answered {
                Ok(Some(frame)) if frame.get(answer).is_some() => return,
                Ok(Some(frame)) if frame["error"]["retry"] == true => {
                    // These two do not say that it was not done.
                    if ["timeout", "unavailable"]
                        .iter()
                        .any(|code| frame["error"]["code"] == *code)
                    {
                        self.known.unanswered.insert(group.to_owned(), Instant::now());
                    }
                }
                Ok(Some(frame)) => {
                    self.known.fault = Some(format!("{} was answered {frame} to {verb} {group}", self.user));
                    return;
                }
                Ok(None) | Err(_) => {
                    self.client = None;
                    self.known.unanswered.insert(group.to_owned(), Instant::now());
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// None: the connection has ended, or could not be made.
    async fn ask(&mut self, command: Value) -> Option<Value> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(connect(&self.user).await?),
        };
        const ID: u32 = 7;
        let mut command = command;
        command["id"] = ID.into();
        client.try_send(&command).await.ok()?;
        loop {
            match client.event_until(Instant::now() + ANSWER).await? {
                Event::Frame(frame) if frame["id"] == ID => return Some(frame),
                Event::Frame(_) => {}
                Event::Closed(..) | Event::Lost(_) => return None,
            }
        }
    }
}

async fn connect(user: &str) -> Option<Client> {
    let gateway = *World::gateways().choose(&mut rand::rng())?;
    let token = token::hs256(SECRET, &token::claims(user));
    let upgrade = Upgrade::to(gateway.public())
        .dialect(Dialect::Json)
        .query("token", &token);
    let (mut client, _) = upgrade.try_open().await.ok()?;
    loop {
        match client.event_until(Instant::now() + ANSWER).await? {
            Event::Frame(frame) if frame.get("connected").is_some() => return Some(client),
            Event::Frame(_) => {}
            Event::Closed(..) | Event::Lost(_) => return None,
        }
    }
}

/// In seconds, as logs have them.
fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:02}:{:06.3}", now.as_secs() / 60 % 60, now.as_secs_f64() % 60.0)
}
