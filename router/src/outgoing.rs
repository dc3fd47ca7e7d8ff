//! HTTP that this node speaks to others: the application's services and webhooks. Connections are kept for the next request, no
//! redirect is followed (the one who answers is the one who is configured), and addresses that answer to this machine alone
//! are refused.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use address::{Allowed, Resolver};

mod address;
mod tls;

pub use legacy::Error;

/// Connections kept while there is nothing to ask. A few calls come at once, a burst of many may connect anew.
const IDLE: usize = 32;
/// Shorter than the 5 s after which common servers (Node, uvicorn) close an idle connection: a request that crosses such
/// a close would be lost, and may not be sent twice.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// A reply is read in pieces of at most this; its head must fit in one.
const READ: usize = 64 << 10;

/// What is wrong with a URL and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("must be an http or https URL with a host, without user, query or fragment")]
    Url,
    #[error("{0} is link-local: it must be listed in allow_addresses")]
    Address(IpAddr),
    #[error(
        "{0:?} is an address in a form that hides which: write four decimal numbers, or one of IPv6 without a zone"
    )]
    Hidden(String),
    #[error("{0}")]
    CaFile(String),
}

impl Fault {
    /// The setting, of the table at `table`.
    pub fn path(&self, table: &str) -> String {
        match self {
            Self::Url | Self::Address(_) | Self::Hidden(_) => format!("{table}.url"),
            Self::CaFile(_) => format!("{table}.ca_file"),
        }
    }
}

/// To whom and how.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    pub url: &'a str,
    pub connect_timeout: Duration,
    /// Link-local addresses that its host may have all the same.
    pub allow_addresses: &'a [IpAddr],
    /// PEM; None: the system's.
    pub ca_file: Option<&'a PathBuf>,
}

type Connector = HttpsConnector<HttpConnector<Resolver>>;

pub struct Client(legacy::Client<Connector, Full<Bytes>>);

impl Client {
    pub fn new(settings: &Settings<'_>) -> Result<Self, Fault> {
        let allowed = Allowed::new(settings.allow_addresses);
        let uri = check(settings.url, &allowed)?;
        let mut http = HttpConnector::new_with_resolver(Resolver(allowed));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(settings.connect_timeout));
        let tls = match uri.scheme_str() {
            Some("https") => tls::config(settings.ca_file.map(PathBuf::as_path) as Option<&Path>)?,
            _ => tls::none()?,
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        // The client's tasks are its connections': each ends with its call, or after IDLE_FOR.
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE)
            .http1_max_buf_size(READ)
            .build(connector);
        Ok(Self(client))
    }

    pub async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.0.request(request).await
    }
}

/// An address written into the URL is never resolved, so it is looked at here.
fn check(url: &str, allowed: &Allowed) -> Result<Uri, Fault> {
    let uri: Uri = url.parse().map_err(|_| Fault::Url)?;
    let authority = uri.authority().ok_or(Fault::Url)?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || authority.host().is_empty() || authority.as_str().contains('@') || url.contains(['?', '#']) {
        return Err(Fault::Url);
    }
    let in_brackets = authority.host().starts_with('[');
    let host = authority.host().trim_matches(['[', ']']);
    match host.parse() {
        Ok(address) if !allowed.allows(address) => Err(Fault::Address(address)),
        // In brackets stands nothing but an address; one with a zone is link-local.
        Err(_) if in_brackets || hides_an_address(host) => Err(Fault::Hidden(host.to_owned())),
        _ => Ok(uri),
    }
}

/// Numbers that systems take for an IPv4 address, such as 2852039166 or 0xa9fe.0xa9fe: the last label of a name is never a
/// number.
fn hides_an_address(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The error with its causes: the client's own text says nothing.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_urls_are_looked_at_however_they_are_written() {
        let check = |host: &str| check(&format!("http://{host}/hook"), &Allowed::default()).map(drop);
        for fine in [
            "example.org",
            "127.0.0.1:8080",
            "[::1]:80",
            "a1.b2",
            "0x.example",
            "localhost",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for refused in ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]"] {
            assert!(matches!(check(refused), Err(Fault::Address(_))), "{refused}");
        }
        for hidden in [
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.16689662",
            "0xA9.0xFE.0xA9.0xFE",
            "169.254.169.254.",
            "0x",
            "[fe80::1%lo]",
            "[fe80::1%25lo]",
        ] {
            assert!(matches!(check(hidden), Err(Fault::Hidden(_))), "{hidden}");
        }
    }
}
