//! What the cluster says of presence and membership, beside what is so.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{member::Memberships, world::World};
use crate::{gateway::API_KEY, http};

const ANSWER: Duration = Duration::from_secs(5);
/// Answers must be right so often, one after another: any router may give them. And so often is asked who does not answer.
const ASKED: usize = 4;

/// When every gateway's answers about these users became right for good; None: not by `end`.
pub async fn until_right(truth: &BTreeMap<String, u64>, end: Instant) -> Option<Instant> {
    let users: Vec<&String> = truth.keys().collect();
    let mut right: Option<(Instant, usize)> = None;
    loop {
        let mut wrong = Vec::new();
        for gateway in World::gateways() {
            let answer = ask(gateway.admin(), "POST", "/api/v1/presence", &json!({"users": users})).await;
            wrong.extend(disagrees(&gateway.name(), answer.as_ref(), truth));
        }
        right = match (wrong.is_empty(), right) {
            (false, _) => None,
            (true, None) => Some((Instant::now(), 1)),
            (true, Some((since, times))) => Some((since, times + 1)),
        };
        match right {
            Some((since, ASKED)) => return (since <= end).then_some(since),
            None if Instant::now() >= end => {
                eprintln!("presence: {}", wrong.join(", "));
                return None;
            }
            _ => {}
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// What is wrong with a gateway's answer, in words.
fn disagrees(gateway: &str, answer: Option<&Value>, truth: &BTreeMap<String, u64>) -> Vec<String> {
    let Some(answer) = answer else {
        return vec![format!("{gateway} does not answer")];
    };
    let told = |user: &String| answer["users"][user]["connections"].as_u64();
    let wrong = truth.iter().filter(|(user, count)| told(user) != Some(**count));
    let wrong = wrong.map(|(user, count)| format!("{gateway} says {:?} of {user}, who has {count}", told(user)));
    wrong.collect()
}

/// How many memberships some gateway tells wrong; a refusal that no member should have got counts, too.
pub async fn wrong_memberships(memberships: &Memberships) -> usize {
    let mut wrong = BTreeSet::new();
    for (user, known) in memberships {
        if let Some(fault) = &known.fault {
            eprintln!("{fault}");
            wrong.insert((user, "refused"));
        }
        for gateway in World::gateways() {
            let answer = ask_again(gateway.admin(), &format!("/api/v1/users/{user}")).await;
            let groups = answer.as_ref().and_then(|answer| answer["groups"].as_array());
            let Some(groups) = groups else {
                eprintln!("{} does not answer about {user}", gateway.name());
                wrong.insert((user, "no answer"));
                continue;
            };
            let is_member = |group: &String| groups.iter().any(|other| other == group);
            let missing = known.member.iter().filter(|group| !is_member(group));
            let surplus = known.not.iter().filter(|group| is_member(group));
            for group in missing.chain(surplus) {
                let last = known.last_of(group);
                eprintln!("{user}: {group} should be otherwise in {groups:?}, after\n    {last}");
                wrong.insert((user, group.as_str()));
            }
        }
    }
    wrong.len()
}

/// A question may go unanswered, as any command may, while servers of NATS that were apart still find each other.
async fn ask_again(admin: SocketAddr, path: &str) -> Option<Value> {
    for _ in 1..ASKED {
        if let Some(answer) = ask(admin, "GET", path, &Value::Null).await {
            return Some(answer);
        }
        sleep(Duration::from_millis(250)).await;
    }
    ask(admin, "GET", path, &Value::Null).await
}

async fn ask(admin: SocketAddr, method: &str, path: &str, body: &Value) -> Option<Value> {
    let bearer = format!("Bearer {API_KEY}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let answer = timeout(ANSWER, http::request(admin, method, path, &headers, body.as_bytes()));
    let answer = answer.await.ok()?;
    (answer.status == 200).then(|| serde_json::from_str(&answer.body).ok())?
}
