//! Whose connection is it? Behind a reverse proxy the socket's address is the proxy's; it tells the client's in a header,
//! which is believed only where the socket's address is that of a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use hyper::{
    HeaderMap,
    header::{self, HeaderName},
};
use ipnet::IpNet;
use serde::Deserialize;

/// The header that the proxies write. Only one is read: a proxy passes on the other one as the client sent it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

pub struct Proxies {
    trusted: Vec<IpNet>,
    header: AddressHeader,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl Proxies {
    pub fn new(trusted: &[IpNet], header: AddressHeader) -> Self {
        Self {
            trusted: trusted.to_vec(),
            header,
        }
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The last address, as seen from here, that is no trusted proxy's. What stands before it anybody may have written.
    pub fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let mut client = peer.to_canonical();
        let told = match self.header {
            AddressHeader::XForwardedFor => list(headers, &X_FORWARDED_FOR),
            AddressHeader::Forwarded => list(headers, &header::FORWARDED)
                .into_iter()
                .map(|element| forwarded_for(&element).unwrap_or_default())
                .collect(),
        };
        for one in told.iter().rev() {
            if !self.trusts(client) {
                break;
            }
            match address(one) {
                Some(address) => client = address.to_canonical(),
                // A name that is no address: what lies behind the proxy is not to be known.
                None => break,
            }
        }
        client
    }
}

/// The elements of a list that may be spread over several headers; commas within quotes separate nothing.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let mut elements = Vec::new();
    for value in headers.get_all(name) {
        // What is no text is an element that names nobody.
        let value = value.to_str().unwrap_or_default();
        let mut quoted = false;
        let split = value.split(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        elements.extend(split.map(|element| element.trim().to_owned()));
    }
    elements
}

/// The value of `for=` in one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<String> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    values
        .next()
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

/// With or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let alone = bare.unwrap_or(text).parse::<IpAddr>().ok();
    alone.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: AddressHeader, values: &[&str], peer: &str) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let name = match header {
            AddressHeader::XForwardedFor => X_FORWARDED_FOR,
            AddressHeader::Forwarded => header::FORWARDED,
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        let proxies = Proxies::new(&trusted, header);
        proxies.client(&headers, peer.parse().unwrap()).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let xff = |values: &[&str], peer: &str| client(AddressHeader::XForwardedFor, values, peer);
        assert_eq!(xff(&["203.0.113.9"], "10.0.0.1"), "203.0.113.9");
        assert_eq!(xff(&["203.0.113.9"], "192.0.2.1"), "192.0.2.1", "no proxy of ours");
        assert_eq!(xff(&[], "10.0.0.1"), "10.0.0.1");
        assert_eq!(xff(&["6.6.6.6, 203.0.113.9, 10.2.2.2"], "10.0.0.1"), "203.0.113.9");
        assert_eq!(xff(&["6.6.6.6", "203.0.113.9"], "::ffff:10.0.0.1"), "203.0.113.9");
        assert_eq!(xff(&["6.6.6.6, unknown"], "10.0.0.1"), "10.0.0.1");
        assert_eq!(xff(&["203.0.113.9:4711"], "10.0.0.1"), "203.0.113.9");
        assert_eq!(xff(&["2001:db8::9"], "fd00::1"), "2001:db8::9");
        assert_eq!(xff(&["10.9.9.9"], "10.0.0.1"), "10.9.9.9", "nothing but proxies");
    }

    #[test]
    fn forwarded_is_read_as_the_rfc_writes_it() {
        let forwarded = |values: &[&str]| client(AddressHeader::Forwarded, values, "10.0.0.1");
        assert_eq!(forwarded(&["for=192.0.2.60;proto=http;by=203.0.113.43"]), "192.0.2.60");
        assert_eq!(
            forwarded(&["for=6.6.6.6, For=\"[2001:db8:cafe::17]:4711\", for=10.1.1.1"]),
            "2001:db8:cafe::17"
        );
        assert_eq!(forwarded(&["for=\"_hidden, with a comma\""]), "10.0.0.1");
        assert_eq!(forwarded(&["proto=https"]), "10.0.0.1");
    }
}
