//! Where a server is.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// A URL, resolved once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Address {
    /// As it stands in `Host`.
    pub host: String,
    pub socket: SocketAddr,
    /// With the leading slash, and without what the target adds.
    pub path: String,
}

impl Address {
    pub async fn resolve(url: &str) -> Result<Self> {
        let (host, path) = split(url)?;
        let mut found = tokio::net::lookup_host(&host)
            .await
            .with_context(|| format!("the address of {host}"))?;
        let socket = found.next().with_context(|| format!("{host} has no address"))?;
        drop(found);
        Ok(Self { host, socket, path })
    }
}

/// Host with port, and path.
fn split(url: &str) -> Result<(String, String)> {
    let rest = ["ws://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let Some(rest) = rest else {
        bail!("{url} must begin with ws:// or http://: a load test runs behind whatever ends TLS");
    };
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if host.is_empty() {
        bail!("{url} names no host");
    }
    let port = if host.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
        ""
    } else {
        ":80"
    };
    Ok((format!("{host}{port}"), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn urls_are_split() {
        let parts = |url| split(url).expect("a good URL");
        assert_eq!(parts("ws://127.0.0.1:8002/ws"), ("127.0.0.1:8002".into(), "/ws".into()));
        assert_eq!(parts("http://herald.test"), ("herald.test:80".into(), String::new()));
        assert_eq!(parts("ws://[::1]/a/b"), ("[::1]:80".into(), "/a/b".into()));
        assert!(split("wss://herald.test").is_err());
        assert!(split("ws:///path").is_err());
    }
}
