//! How much the whole node takes: clients, sockets, connects in a second, memory. Whoever is too much is told so at once,
//! before anything is spent on it, and when to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::Rng;
use tracing::{info, warn};

use crate::{limits::Limits, metrics, rate::Bucket};

mod usage;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Descriptors that are kept for all but the public listeners' sockets: files, NATS, backends, the admin listener.
const RESERVE: u32 = 128;

pub struct Capacity {
    limits: Arc<Limits>,
    /// How many sockets of the public listeners may be open; of descriptors there may be no limit.
    most_sockets: u32,
    clients: AtomicU32,
    sockets: AtomicU32,
    connects: Mutex<Bucket>,
    heavy: AtomicBool,
}

/// Why nobody is let in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Draining,
    Connections,
    Connects(Duration),
    Descriptors,
    Memory,
}

impl Full {
    /// As metrics have it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Connections => "node_connections",
            Self::Connects(_) => "node_rate",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Draining => "shutting down",
            Self::Connections => "this node is full",
            Self::Connects(_) => "too many connects at once",
            Self::Descriptors => "this node has no sockets left",
            Self::Memory => "this node is short of memory",
        }
    }

    /// In whole seconds, and not for all the same, so that they do not come back all at once. Another node takes those
    /// of one that drains; of one that is full somebody must go first.
    pub fn retry_after(self) -> Duration {
        let (least, spread) = match self {
            Self::Draining => (1, 2),
            Self::Connects(wait) => (wait.as_secs() + 1, 5),
            Self::Connections | Self::Descriptors | Self::Memory => (5, 10),
        };
        Duration::from_secs(least + rand::rng().random_range(0..=spread))
    }
}

/// Room for one; given back when dropped.
pub struct Place {
    capacity: Arc<Capacity>,
    client: bool,
    socket: bool,
}

impl Capacity {
    pub fn new(limits: Arc<Limits>) -> Arc<Self> {
        Arc::new(Self::with_descriptors(limits, usage::raise_descriptors()))
    }

    fn with_descriptors(limits: Arc<Limits>, descriptors: Option<u32>) -> Self {
        let most_sockets = descriptors.map_or(u32::MAX, |all| all - RESERVE.min(all / 2));
        let wanted = limits.now().connections;
        if most_sockets < wanted {
            info!(
                descriptors,
                "limits.connections is {wanted}, but there are file descriptors for {most_sockets} only"
            );
        }
        Self {
            limits,
            most_sockets,
            clients: AtomicU32::new(0),
            sockets: AtomicU32::new(0),
            connects: Mutex::default(),
            heavy: AtomicBool::new(false),
        }
    }

    /// How many clients there may be.
    fn most_clients(&self) -> u32 {
        self.limits.now().connections.min(self.most_sockets)
    }

    /// A connection that was accepted.
    pub fn socket(self: &Arc<Self>) -> Result<Place, Full> {
        let place = self.place(false, true);
        match self.sockets.load(Ordering::Relaxed) > self.most_sockets {
            true => Err(Full::Descriptors),
            false => Ok(place),
        }
    }

    /// A client on a socket of its own, which speaks HTTP no longer.
    pub fn upgrade(self: &Arc<Self>) -> Result<Place, Full> {
        self.connect(true)
    }

    /// A client that waits for the answer to its request.
    pub fn guest(self: &Arc<Self>) -> Result<Place, Full> {
        self.connect(false)
    }

    /// One that comes again and again, which its user's rate limits.
    pub fn poll(self: &Arc<Self>) -> Result<Place, Full> {
        self.room(false)
    }

    fn connect(self: &Arc<Self>, socket: bool) -> Result<Place, Full> {
        let place = self.room(socket)?;
        let rate = self.limits.rates().node_connects;
        rate.take(&mut self.connects.lock(), 1, Instant::now())
            .map_err(Full::Connects)?;
        Ok(place)
    }

    fn room(self: &Arc<Self>, socket: bool) -> Result<Place, Full> {
        self.light()?;
        let place = self.place(true, socket);
        match self.clients.load(Ordering::Relaxed) > self.most_clients() {
            true => Err(Full::Connections),
            false => Ok(place),
        }
    }

    /// Fails while the process has more memory than it should.
    pub fn light(&self) -> Result<(), Full> {
        match self.heavy.load(Ordering::Relaxed) {
            true => Err(Full::Memory),
            false => Ok(()),
        }
    }

    /// Taken first and looked at then, so that of several at once none is let in beyond the limit.
    fn place(self: &Arc<Self>, client: bool, socket: bool) -> Place {
        self.clients.fetch_add(client.into(), Ordering::Relaxed);
        self.sockets.fetch_add(socket.into(), Ordering::Relaxed);
        Place {
            capacity: self.clone(),
            client,
            socket,
        }
    }

    /// Looks after memory, until dropped.
    pub async fn run(&self) {
        let mut every = tokio::time::interval(LOOK);
        loop {
            every.tick().await;
            metrics::connections_limit(self.most_clients());
            self.weigh();
        }
    }

    fn weigh(&self) {
        let Some(most) = self.limits.now().memory else {
            self.heavy.store(false, Ordering::Relaxed);
            return;
        };
        match usage::memory() {
            Ok(bytes) => {
                let heavy = bytes > most.as_u64();
                if self.heavy.swap(heavy, Ordering::Relaxed) != heavy {
                    warn!(bytes, heavy, "memory, against limits.memory");
                }
            }
            Err(error) => warn!(%error, "memory cannot be measured: limits.memory does not hold"),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.capacity.clients.fetch_sub(self.client.into(), Ordering::Relaxed);
        self.capacity.sockets.fetch_sub(self.socket.into(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitSettings;

    fn capacity(settings: LimitSettings, descriptors: u32) -> Arc<Capacity> {
        Arc::new(Capacity::with_descriptors(Limits::new(settings), Some(descriptors)))
    }

    #[test]
    fn a_full_node_takes_the_next_one_when_somebody_goes() {
        let capacity = capacity(
            LimitSettings {
                connections: 2,
                ..LimitSettings::default()
            },
            10_000,
        );
        let (first, _second) = (capacity.upgrade().ok(), capacity.poll().ok());
        assert_eq!(capacity.guest().err(), Some(Full::Connections));
        assert_eq!(capacity.upgrade().err(), Some(Full::Connections));
        drop(first);
        assert!(capacity.guest().is_ok());
        assert!(capacity.socket().is_ok(), "requests are no clients");
    }

    #[test]
    fn connects_have_a_rate_and_polls_have_not() {
        let capacity = capacity(
            LimitSettings {
                node_connects_per_second: 1,
                node_connects_burst: 3,
                ..LimitSettings::default()
            },
            10_000,
        );
        assert_eq!((0..9).filter(|_| capacity.upgrade().is_ok()).count(), 3);
        assert!(matches!(capacity.guest().err(), Some(Full::Connects(_))));
        assert!(capacity.poll().is_ok());
    }

    #[test]
    fn some_descriptors_are_kept() {
        let capacity = capacity(LimitSettings::default(), 100);
        let sockets: Vec<_> = (0..100).map_while(|_| capacity.socket().ok()).collect();
        assert_eq!(sockets.len(), 50);
        assert_eq!(capacity.socket().err(), Some(Full::Descriptors));
        assert_eq!(capacity.most_clients(), 50);
    }

    #[test]
    fn who_is_refused_is_told_a_time_and_not_all_the_same() {
        let times: std::collections::HashSet<_> = (0..200).map(|_| Full::Connections.retry_after()).collect();
        assert!(times.len() > 5);
        assert!(times.iter().all(|time| (5..=15).contains(&time.as_secs())));
    }
}
