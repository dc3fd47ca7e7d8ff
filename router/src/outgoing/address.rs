//! Which addresses an upstream's host may have, looked at each time that it is connected to: a name may mean another
//! address tomorrow, and whoever can change that must not reach what answers to this machine alone.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// Metadata services of clouds that are not at link-local addresses.
const METADATA: [IpAddr; 6] = [
    // EC2 by IPv6, and what gives EKS pods their credentials.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google by IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Alibaba.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's agents.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Link-local addresses that are allowed all the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed(Arc<[IpAddr]>);

impl Allowed {
    pub(super) fn new(addresses: &[IpAddr]) -> Self {
        Self(addresses.iter().copied().map(meant).collect())
    }

    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let meant = meant(address);
        self.0.contains(&meant) || !is_local_to_link(meant)
    }
}

/// The IPv4 address that an IPv6 address stands for, where it does: mapped, translated, compatible, or through NAT64 or 6to4.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else {
        return address;
    };
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        // The well-known prefix, and that of networks' own translators.
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => four(high, low),
        // ::1 and :: are themselves.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => four(high, low),
        _ => address,
    }
}

fn is_local_to_link(address: IpAddr) -> bool {
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(four) => four.is_link_local(),
            IpAddr::V6(six) => six.is_unicast_link_local(),
        }
}

/// Resolves names as the system does, and leaves out what is not allowed.
#[derive(Clone)]
pub(super) struct Resolver(pub(super) Allowed);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allowed = self.0.clone();
        Box::pin(async move {
            // The connector puts in the port.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (fine, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| allowed.allows(found.ip()));
            if let Some(address) = refused.first() {
                tracing::warn!(host = name.as_str(), address = %address.ip(), "a service has a link-local address: refused");
            }
            if fine.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "no address that is allowed",
                ));
            }
            Ok(fine.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn link_local_addresses_are_refused_however_they_are_written() {
        let allowed = Allowed::default();
        for refused in [
            "169.254.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:1",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "::ffff:0:a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "168.63.129.16",
            "192.0.0.192",
            "100.100.100.200",
            "::ffff:100.100.100.200",
        ] {
            assert!(!allowed.allows(address(refused)), "{refused}");
        }
        for fine in [
            "127.0.0.1",
            "::1",
            "::",
            "10.0.0.1",
            "192.0.2.1",
            "fec0::1",
            "fd00:ec2::253",
            "::ffff:10.0.0.1",
            "2002:a00:1::1",
        ] {
            assert!(allowed.allows(address(fine)), "{fine}");
        }
    }

    #[test]
    fn what_is_listed_is_allowed_and_nothing_beside_it() {
        let allowed = Allowed::new(&[address("::ffff:169.254.10.7"), address("fe80::1")]);
        for fine in ["169.254.10.7", "::ffff:169.254.10.7", "fe80::1"] {
            assert!(allowed.allows(address(fine)), "{fine}");
        }
        assert!(!allowed.allows(address("169.254.10.8")));
        assert!(!allowed.allows(address("fe80::2")));
    }

    #[tokio::test]
    async fn names_are_looked_at_after_they_are_resolved() {
        // The system's resolver takes this for an IPv4 address, as it does hexadecimal and octal ones.
        let lookup = |name: &str| {
            let name: Name = name.parse().expect("a name");
            Resolver(Allowed::default()).call(name)
        };
        assert!(lookup("2852039166").await.is_err(), "169.254.169.254 as one number");
        assert!(lookup("localhost").await.expect("resolved").len() > 0);
    }
}
