//! Who is where in the network: one address for each node, and one for all clients.

use std::net::{Ipv4Addr, SocketAddr};

/// Everything that has a port of its own on the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    Clients,
    Nats(usize),
    Router(usize),
    Gateway(usize),
}

pub const NATS: usize = 3;
pub const ROUTERS: usize = 2;
pub const GATEWAYS: usize = 3;
pub const PORTS: usize = 1 + NATS + ROUTERS + GATEWAYS;

impl Place {
    pub fn nodes() -> impl Iterator<Item = Self> {
        let nats = (0..NATS).map(Self::Nats);
        let routers = (0..ROUTERS).map(Self::Router);
        nats.chain(routers).chain((0..GATEWAYS).map(Self::Gateway))
    }

    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Clients).chain(Self::nodes())
    }

    /// Its port on the switch.
    pub fn port(self) -> usize {
        match self {
            Self::Clients => 0,
            Self::Nats(i) => 1 + i,
            Self::Router(i) => 1 + NATS + i,
            Self::Gateway(i) => 1 + NATS + ROUTERS + i,
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::Clients => "clients".to_owned(),
            Self::Nats(i) => format!("nats{i}"),
            Self::Router(i) => format!("router{i}"),
            Self::Gateway(i) => format!("gateway{i}"),
        }
    }

    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 1 + self.port() as u8)
    }

    pub fn mac(self) -> String {
        format!("02:00:00:00:00:{:02x}", self.port())
    }

    /// Where clients connect to a gateway.
    pub fn public(self) -> SocketAddr {
        (self.address(), 8002).into()
    }

    pub fn admin(self) -> SocketAddr {
        (self.address(), 9002).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_place_has_a_port_of_its_own() {
        let ports: HashSet<usize> = Place::all().map(Place::port).collect();
        assert_eq!(ports, (0..PORTS).collect());
    }
}
