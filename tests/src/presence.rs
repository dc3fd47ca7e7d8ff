//! Presence at size: what it costs at rest, how fast it is told, and that it is right after a crash and after restarts.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::json;

use crate::http;

pub mod crash;
pub mod crowd;
pub mod growth;
pub mod rolling;
pub mod table;
mod traveller;
mod watcher;

/// Users that one question may name.
pub const AT_ONCE: usize = 1_000;
/// Clients that connect at once.
const ABREAST: usize = 64;
/// Each question is asked so often: any of the routers may answer it.
const ASKED: usize = 6;

/// How many connections `POST /api/v1/presence` says that each user has, 0 for those who are offline.
pub async fn asked(admin: SocketAddr, users: &[String]) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for some in users.chunks(AT_ONCE) {
        let question = json!({"users": some});
        let response = http::post(admin, "/api/v1/presence", http::DEV_API_KEY, &question).await;
        assert_eq!(response.status, 200, "{response:?}");
        for (user, presence) in response.json()["users"].as_object().expect("users") {
            let connections = presence["connections"].as_u64().expect("a count");
            assert_eq!(presence["online"], connections > 0, "{user}: {presence}");
            answers.insert(user.clone(), connections);
        }
    }
    answers
}

/// Asks every gateway of everybody, and compares the answers with the truth, user by user: how many users some answer was
/// wrong about.
pub async fn wrong(admins: &[SocketAddr], truth: &BTreeMap<String, u64>) -> usize {
    let users: Vec<String> = truth.keys().cloned().collect();
    let mut wrong = BTreeMap::new();
    for admin in admins {
        for _ in 0..ASKED {
            let answers = asked(*admin, &users).await;
            for (user, connections) in truth {
                let answer = answers.get(user).copied();
                if answer != Some(*connections) {
                    wrong.insert(user.clone(), (answer, *connections));
                }
            }
        }
    }
    for (user, (answer, truth)) in wrong.iter().take(5) {
        eprintln!("{user} has {truth} connections, the answer was {answer:?}");
    }
    wrong.len()
}

/// Prints a figure with its bar; whether it held.
#[allow(clippy::print_stdout)]
pub fn told(name: &str, figure: f64, bar: f64) -> bool {
    let word = if figure <= bar { "held" } else { "MISSED" };
    println!("{name:48} {figure:10.2}   bar {bar:8.2}   {word}");
    figure <= bar
}
