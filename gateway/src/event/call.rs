//! Calls to the application's backends.

use bytes::Bytes;

use crate::config;

/// A request to a backend that the client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub service: String,
    pub method: Option<String>,
    pub body: Bytes,
    /// As backends are told.
    pub content_type: &'static str,
}

impl Call {
    /// The rules that hold in every dialect.
    pub fn check(self) -> Result<Self, &'static str> {
        if [Some(&self.service), self.method.as_ref()]
            .into_iter()
            .flatten()
            .all(|name| config::is_name(name))
        {
            Ok(self)
        } else {
            Err("service and method must be 1 to 64 letters, digits, - and _")
        }
    }
}
