//! A client that keeps count of when it was away.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use rand::seq::IndexedRandom;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    PATIENCE,
    client::{Client, Event, Upgrade},
    token,
};

const RETRY: Duration = Duration::from_millis(100);

/// Where clients connect, as it is now.
pub type Addresses = Arc<RwLock<Vec<SocketAddr>>>;

pub struct Traveller {
    pub user: String,
    client: Client,
    /// From the end of one connection until the next one was welcomed.
    pub absences: Vec<(Instant, Instant)>,
}

impl Traveller {
    pub async fn start(user: String, address: SocketAddr) -> Self {
        Self {
            client: Client::dev(address, &user).await,
            user,
            absences: Vec::new(),
        }
    }

    /// Stays connected until `stop`: comes back at once, to one of `elsewhere`, whenever it is cut. None: it stays away.
    pub async fn travel(mut self, elsewhere: Option<Addresses>, stop: CancellationToken) -> Self {
        loop {
            let cut = tokio::select! {
                () = stop.cancelled() => return self,
                event = next(&mut self.client) => event.is_none(),
            };
            if !cut {
                continue;
            }
            let Some(addresses) = &elsewhere else { return self };
            let from = Instant::now();
            self.client = reconnect(&self.user, addresses).await;
            self.absences.push((from, Instant::now()));
        }
    }

    /// Whether it was away, at the moment or at any time in the second before it.
    pub fn was_away(&self, at: Instant) -> bool {
        let (from, to) = (at - Duration::from_secs(1), at);
        self.absences.iter().any(|absence| absence.0 <= to && absence.1 >= from)
    }

    /// Whether it was away for as long as `grace` before that moment.
    pub fn was_long_away(&self, at: Instant, grace: Duration) -> bool {
        let long = |&&(from, to): &&(Instant, Instant)| from < at && to - from >= grace;
        self.absences.iter().find(long).is_some()
    }

    pub fn longest(&self) -> Duration {
        let lengths = self.absences.iter().map(|(from, to)| *to - *from);
        lengths.max().unwrap_or_default()
    }
}

/// The next frame; None where the connection has ended. May be cancelled.
pub async fn next(client: &mut Client) -> Option<serde_json::Value> {
    loop {
        match client.event_until(Instant::now() + PATIENCE).await {
            Some(Event::Frame(frame)) => return Some(frame),
            None => {}
            Some(Event::Closed(code, reason)) => {
                assert!(!(4100..4200).contains(&code), "closed for good: {code} {reason}");
                return None;
            }
            Some(Event::Lost(_)) => return None,
        }
    }
}

/// Tries until one of the addresses takes it.
pub async fn reconnect(user: &str, addresses: &Addresses) -> Client {
    let end = Instant::now() + PATIENCE;
    loop {
        let address = addresses
            .read()
            .expect("never poisoned")
            .choose(&mut rand::rng())
            .copied();
        if let Some(address) = address
            && let Some(client) = connect(user, address).await
        {
            return client;
        }
        assert!(Instant::now() < end, "{user} cannot come back");
        sleep(RETRY).await;
    }
}

async fn connect(user: &str, address: SocketAddr) -> Option<Client> {
    let upgrade = Upgrade::to(address).query("token", &token::dev(user));
    let (mut client, _) = upgrade.try_open().await.ok()?;
    loop {
        if next(&mut client).await?.get("connected").is_some() {
            return Some(client);
        }
    }
}
