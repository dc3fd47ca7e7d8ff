//! A message with headers, as requests to backends and their answers are.

use bytes::Bytes;

use super::{BusError, Result};

/// Names and values, in no order that means anything. Few, so they are looked through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a name, whose case makes no difference.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The bus refuses a message whose names or values cannot stand in a line.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Each must stand in a line of its own.
    pub(super) fn check(&self) -> Result<()> {
        let breaks = |text: &str| text.contains(['\r', '\n']);
        let is_name =
            |name: &str| !name.is_empty() && !name.contains(':') && name.bytes().all(|b| b.is_ascii_graphic());
        if self.iter().all(|(name, value)| is_name(name) && !breaks(value)) {
            Ok(())
        } else {
            Err(BusError::Refused("a header that cannot stand in a line".to_owned()))
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let pairs = headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.collect())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub headers: Headers,
    pub payload: Bytes,
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Self {
        Self {
            headers: Headers::default(),
            payload,
        }
    }
}
