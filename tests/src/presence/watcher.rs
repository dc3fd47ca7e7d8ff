//! A client that watches many users, and keeps what it is told of them.

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::traveller::{Addresses, next, reconnect};
use crate::client::Client;

/// One push.
#[derive(Debug)]
pub struct Told {
    pub at: Instant,
    pub user: String,
    pub online: bool,
}

pub struct Watcher {
    name: String,
    users: Vec<String>,
    addresses: Addresses,
    client: Client,
    pub pushes: Vec<Told>,
    /// Who was offline in the answer to a `watch`, and when.
    pub absent: Vec<(Instant, String)>,
}

impl Watcher {
    /// Connects to one of the addresses and watches; all pushes from then on are heard by `hear`.
    pub async fn start(name: String, users: Vec<String>, addresses: Addresses) -> Self {
        let mut watcher = Self {
            client: reconnect(&name, &addresses).await,
            name,
            users,
            addresses,
            pushes: Vec::new(),
            absent: Vec::new(),
        };
        while watcher.watch().await.is_none() {
            watcher.client = reconnect(&watcher.name, &watcher.addresses).await;
        }
        watcher
    }

    /// None: the connection ended before the answer, or it was an error after which one tries again.
    async fn watch(&mut self) -> Option<()> {
        let command = json!({"id": 1, "watch": {"users": self.users}});
        self.client.try_send(&command).await.ok()?;
        loop {
            let frame = next(&mut self.client).await?;
            if let Some(watching) = frame.get("watching") {
                let users = watching["users"].as_object().expect("users");
                let absent = users.iter().filter(|(_, presence)| presence["online"] == false);
                let now = Instant::now();
                self.absent.extend(absent.map(|(user, _)| (now, user.clone())));
                return Some(());
            }
            if let Some(error) = frame.get("error") {
                assert_eq!(error["retry"], true, "{frame}");
                return None;
            }
            self.note(&frame);
        }
    }

    /// Hears until `stop`; comes back and watches again whenever it is cut.
    pub async fn hear(mut self, stop: CancellationToken) -> Self {
        loop {
            let frame = tokio::select! {
                () = stop.cancelled() => return self,
                frame = next(&mut self.client) => frame,
            };
            match frame {
                Some(frame) => self.note(&frame),
                None => loop {
                    self.client = reconnect(&self.name, &self.addresses).await;
                    if self.watch().await.is_some() {
                        break;
                    }
                },
            }
        }
    }

    fn note(&mut self, frame: &Value) {
        if let Some(presence) = frame.get("presence") {
            self.pushes.push(Told {
                at: Instant::now(),
                user: presence["user"].as_str().expect("a user").to_owned(),
                online: presence["online"].as_bool().expect("online or not"),
            });
        }
    }
}
