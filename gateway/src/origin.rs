//! Which browser pages may connect: the `Origin` rule.

use herald_router::config::Faults;
use hyper::{HeaderMap, Request, header};

/// The allow-list of one path.
pub struct Origins {
    allowed: Vec<String>,
    /// `--dev`: pages from any port of this machine.
    loopback: bool,
}

impl Origins {
    pub fn new(allowed: &[String], loopback: bool) -> Self {
        Self {
            allowed: allowed.iter().map(|o| o.to_ascii_lowercase()).collect(),
            loopback,
        }
    }

    pub fn check(allowed: &[String], faults: &mut Faults) {
        for origin in allowed {
            let rest = origin.split_once("://").map(|(_, rest)| rest);
            if rest.is_none_or(|host| host.is_empty() || host.contains('/')) {
                faults.add(
                    "public.origins",
                    format!("{origin:?} is no origin, such as \"https://app.example\""),
                );
            }
        }
    }

    /// A missing header passes: only browsers send it, and they always do. What cannot be read does not.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        origins.all(|origin| origin.to_str().is_ok_and(|origin| self.allows_one(origin, headers)))
    }

    fn allows_one(&self, origin: &str, headers: &HeaderMap) -> bool {
        let origin = origin.to_ascii_lowercase();
        let Some((_, authority)) = origin.split_once("://") else {
            return false; // "null" is anybody's page
        };
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
        host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
            || self.allowed.contains(&origin)
            || (self.loopback && is_loopback(authority))
    }
}

/// What `--dev` demands: a page elsewhere may have its own name resolve to this machine.
pub fn host_is_loopback<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter().peekable();
    let named = request.uri().authority().is_none_or(|host| is_loopback(host.as_str()));
    named && hosts.peek().is_some() && hosts.all(|host| host.to_str().is_ok_and(is_loopback))
}

/// Whether `host[:port]` names this machine's loopback.
pub fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "push.example:8002".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_own_and_listed_origins_pass() {
        let origins = Origins::new(&["https://App.example".to_owned()], false);
        for (origin, passes) in [
            (None, true),
            (Some("https://push.example:8002"), true),
            (Some("https://app.example"), true),
            (Some("https://app.example.evil"), false),
            (Some("https://evil.example"), false),
            (Some("http://localhost:3000"), false),
            (Some("null"), false),
        ] {
            assert_eq!(origins.allows(&headers(origin)), passes, "{origin:?}");
        }
        let dev = Origins::new(&[], true);
        assert!(dev.allows(&headers(Some("http://localhost:3000"))));
        assert!(dev.allows(&headers(Some("http://127.0.0.1"))));
        assert!(dev.allows(&headers(Some("http://[::1]:80"))));
        assert!(!dev.allows(&headers(Some("http://localhost.evil"))));
    }
}
