//! Limits by client address: connections at once, and how often one may connect.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;

use crate::{capacity::Place, limits::Limits, rate::Bucket};

const SWEEP: Duration = Duration::from_secs(30);

pub struct Addresses {
    limits: Arc<Limits>,
    table: Arc<DashMap<IpAddr, Usage>>,
}

#[derive(Default)]
struct Usage {
    /// Clients that are connected, over WebSockets or waiting for an HTTP answer; and connections that (still) speak HTTP.
    connections: [u32; 2],
    connects: Bucket,
}

#[derive(Clone, Copy)]
enum Kind {
    Client,
    Http,
}

/// Why an address may not connect now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    TooManyConnections,
    TooOften,
}

/// One connection of an address; counts until dropped.
pub struct Slot {
    table: Arc<DashMap<IpAddr, Usage>>,
    address: IpAddr,
    kind: Kind,
}

/// What one connection takes of its address' share and of the node's, until it is dropped.
pub struct Room {
    _address: Option<Slot>,
    _node: Place,
}

impl Room {
    pub fn new(address: Option<Slot>, node: Place) -> Self {
        Self {
            _address: address,
            _node: node,
        }
    }
}

impl Addresses {
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            table: Arc::default(),
        }
    }

    /// A WebSocket, or a stream of events. None inside `Ok`: addresses are not counted here.
    pub fn connect(&self, address: IpAddr) -> Result<Option<Slot>, Refusal> {
        self.take(address, Kind::Client, true)
    }

    /// A client that comes again and again, and is limited in that by other means.
    pub fn hold(&self, address: IpAddr) -> Result<Option<Slot>, Refusal> {
        self.take(address, Kind::Client, false)
    }

    /// A connection that may ask for anything; as many as clients are allowed, whose number is apart.
    pub fn open_http(&self, address: IpAddr) -> Result<Option<Slot>, Refusal> {
        self.take(address, Kind::Http, false)
    }

    fn take(&self, address: IpAddr, kind: Kind, is_connect: bool) -> Result<Option<Slot>, Refusal> {
        let rate = self.limits.rates().address_connects;
        let limits = self.limits.now();
        if limits.rates_lifted {
            return Ok(None);
        }
        let mut usage = self.table.entry(address).or_default();
        if is_connect {
            let taken = rate.take(&mut usage.connects, 1, Instant::now());
            taken.map_err(|_| Refusal::TooOften)?;
        }
        let count = &mut usage.connections[kind as usize];
        if *count >= limits.connections_per_address {
            return Err(Refusal::TooManyConnections);
        }
        *count += 1;
        Ok(Some(Slot {
            table: self.table.clone(),
            address,
            kind,
        }))
    }

    /// Forgets addresses that are gone, until dropped.
    pub async fn run(&self) {
        let mut every = tokio::time::interval(SWEEP);
        loop {
            every.tick().await;
            let now = Instant::now();
            self.table
                .retain(|_, usage| usage.connections != [0; 2] || !usage.connects.is_fresh(now));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(mut usage) = self.table.get_mut(&self.address) {
            let count = &mut usage.connections[self.kind as usize];
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitSettings;

    #[test]
    fn one_address_is_limited_and_others_are_not() {
        let settings = LimitSettings {
            connections_per_address: 2,
            connects_per_second: 1,
            connects_burst: 3,
            ..LimitSettings::default()
        };
        let addresses = Addresses::new(Limits::new(settings));
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = addresses.connect(a);
        let second = addresses.connect(a);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(addresses.connect(a).err(), Some(Refusal::TooManyConnections));
        drop(first);
        assert_eq!(
            addresses.connect(a).err(),
            Some(Refusal::TooOften),
            "the burst is spent"
        );
        assert!(addresses.connect(b).is_ok());
    }
}
