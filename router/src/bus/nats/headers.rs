//! Headers on the wire of NATS.

use async_nats::{HeaderMap, HeaderName, HeaderValue};

use crate::bus::{BusError, Headers, Result};

pub(in crate::bus) fn to_map(headers: &Headers) -> Result<HeaderMap> {
    headers.check()?;
    let refused = || BusError::Refused("a header that NATS does not take".to_owned());
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        let name: HeaderName = name.parse().map_err(|_| refused())?;
        let value: HeaderValue = value.parse().map_err(|_| refused())?;
        map.append(name, value);
    }
    Ok(map)
}

pub(super) fn from_map(map: &HeaderMap) -> Headers {
    let pairs = map
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.as_str())));
    pairs.collect()
}
