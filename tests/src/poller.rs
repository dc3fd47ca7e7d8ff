//! A client that only polls. All it keeps is its cursor: what came once must never come again.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{interval, timeout},
};

use crate::{
    client::Client,
    heard::{Heard, Verdict},
    http::{self, Response},
};

pub struct Poller {
    pub user: String,
    token: String,
    pub cursor: Option<String>,
    pub heard: Heard,
    pub gaps: usize,
    /// Answers that brought something.
    pub answers: usize,
}

/// POST of JSON with a token.
pub async fn post(address: SocketAddr, path: &str, token: &str, body: &Value) -> Response {
    http::post(address, path, token, body).await
}

impl Poller {
    pub fn new(user: &str, token: &str) -> Self {
        Self {
            user: user.to_owned(),
            token: token.to_owned(),
            cursor: None,
            heard: Heard::default(),
            gaps: 0,
            answers: 0,
        }
    }

    /// One whose first poll is behind it.
    pub async fn begun(address: SocketAddr, user: &str, token: &str) -> Self {
        let mut poller = Self::new(user, token);
        assert_eq!(poller.poll(address, 0).await, 0);
        poller
    }

    fn ask(&self, wait: u64) -> Value {
        match &self.cursor {
            Some(cursor) => json!({"cursor": cursor, "wait": wait}),
            None => json!({"wait": wait}),
        }
    }

    /// How many messages came.
    pub async fn poll(&mut self, address: SocketAddr, wait: u64) -> usize {
        let ask = self.ask(wait);
        self.poll_with(address, &ask).await
    }

    pub async fn poll_with(&mut self, address: SocketAddr, ask: &Value) -> usize {
        let answer = post(address, "/poll", &self.token, ask).await;
        self.take(&answer)
    }

    /// Goes away unless the answer has come within `time`; whether it did.
    pub async fn cut_after(&mut self, address: SocketAddr, time: Duration) -> bool {
        let ask = self.ask(30);
        let answer = timeout(time, post(address, "/poll", &self.token, &ask)).await;
        answer.map(|answer| self.take(&answer)).is_err()
    }

    fn take(&mut self, answer: &Response) -> usize {
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        self.cursor = Some(answer["cursor"].as_str().expect("a cursor").to_owned());
        self.gaps += usize::from(answer["gap"] == true);
        let messages = answer["messages"].as_array().expect("messages");
        for message in messages {
            let verdict = self.heard.note(&self.user, message);
            assert!(
                matches!(verdict, Verdict::New | Verdict::Ephemeral),
                "{verdict:?}: {message}"
            );
        }
        self.answers += usize::from(!messages.is_empty());
        messages.len()
    }

    /// Polls until `holds`; fails, naming `what`, where it does not after so many polls.
    pub async fn until(&mut self, address: SocketAddr, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if holds(self) {
                return;
            }
            self.poll(address, 5).await;
        }
        panic!("{}: never came: {what}; heard {}", self.user, self.heard.count());
    }
}

/// Says one number after another to a user, a group and all in turn, some hundred a second, until told to stop. How many
/// to each.
pub async fn chatter(mut client: Client, user: &str, group: &str, stopped: watch::Receiver<bool>) -> [usize; 3] {
    let targets = [json!({"user": user}), json!({"group": group}), json!({"all": true})];
    let mut said = [0; 3];
    let mut pace = interval(Duration::from_millis(3));
    while !*stopped.borrow() {
        pace.tick().await;
        let at = said.iter().sum::<usize>() % targets.len();
        client.say(targets[at].clone(), json!(said[at])).await;
        client.take_waiting();
        said[at] += 1;
    }
    said
}
