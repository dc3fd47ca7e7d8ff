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

    /// The last address, as seen from here, that is no trusted proxy's. What stands before it anybody may have written, so
    /// it is read from the end, and no further than need be: nothing that stands before can change how it is read.
    pub fn client(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let (name, quotes) = match self.header {
            AddressHeader::XForwardedFor => (&X_FORWARDED_FOR, false),
            AddressHeader::Forwarded => (&header::FORWARDED, true),
        };
        let values = headers.get_all(name).iter().rev();
        let mut told = values.flat_map(|value| from_the_end(value.as_bytes(), quotes));
        let mut client = peer.to_canonical();
        while self.trusts(client)
            && let Some(element) = told.next()
        {
            let text = std::str::from_utf8(element.trim_ascii()).ok();
            let text = if quotes { text.and_then(forwarded_for) } else { text };
            match text.and_then(address) {
                Some(address) => client = address.to_canonical(),
                // A name that is no address: what lies behind the proxy is not to be known.
                None => break,
            }
        }
        client
    }
}

/// The elements of a list, the last one first; where there are `quotes`, commas within them separate nothing.
fn from_the_end(value: &[u8], quotes: bool) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value.rsplit(move |byte| {
        quoted ^= quotes && *byte == b'"';
        *byte == b',' && !quoted
    })
}

/// The value of `for=` in one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    values.next().map(|(_, value)| value.trim().trim_matches('"'))
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
            headers.append(name.clone(), header::HeaderValue::from_bytes(value.as_bytes()).unwrap());
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
    fn nothing_that_a_client_sends_hides_its_address() {
        let xff = |values: &[&str]| client(AddressHeader::XForwardedFor, values, "10.0.0.1");
        assert_eq!(
            xff(&["\"6.6.6.6, 203.0.113.9"]),
            "203.0.113.9",
            "a quote without an end"
        );
        assert_eq!(xff(&["\u{fc}, 203.0.113.9"]), "203.0.113.9", "no ASCII");
        assert_eq!(xff(&["\"", "203.0.113.9, 10.2.2.2"]), "203.0.113.9");
        let forwarded = |values: &[&str]| client(AddressHeader::Forwarded, values, "10.0.0.1");
        assert_eq!(forwarded(&["for=\"6.6.6.6, for=203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            forwarded(&["for=\u{fc}\", for=\"203.0.113.9\";proto=https"]),
            "203.0.113.9"
        );
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
