//! Clients that join and leave groups all the time, and know which of it was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
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

/// The groups of each user, of those about which the last answer is known.
pub type Memberships = BTreeMap<String, Known>;

#[derive(Debug, Clone, Default)]
pub struct Known {
    pub member: BTreeSet<String>,
    pub not: BTreeSet<String>,
    /// A refusal that no client should have got.
    pub fault: Option<String>,
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
            let known = if join {
                &mut self.known.member
            } else {
                &mut self.known.not
            };
            known.insert(group.to_owned());
            let pause = rand::rng().random_range(20..400);
            sleep(Duration::from_millis(pause)).await;
        }
        (self.user, self.known)
    }

    /// Tries until it is answered.
    async fn change(&mut self, group: &str, join: bool) {
        let (verb, answer) = if join { ("join", "joined") } else { ("leave", "left") };
        loop {
            match timeout(ANSWER, self.ask(json!({ verb: {"group": group} }))).await {
                Ok(Some(frame)) if frame.get(answer).is_some() => return,
                Ok(Some(frame)) if frame["error"]["retry"] == true => {}
                Ok(Some(frame)) => {
                    self.known.fault = Some(format!("{} was answered {frame} to {verb} {group}", self.user));
                    return;
                }
                Ok(None) | Err(_) => self.client = None,
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
