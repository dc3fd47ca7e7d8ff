//! The admin listener and the keys of its callers.

use std::net::SocketAddr;

use herald_router::config::{Faults, Secret, TlsSettings};
use serde::Deserialize;

use super::DEV_API_KEY;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    pub tls: Option<TlsSettings>,
    pub api_keys: Vec<ApiKeySettings>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9002)),
            tls: None,
            api_keys: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySettings {
    pub name: String,
    pub key: Secret,
    /// None: all calls.
    pub calls: Option<Vec<String>>,
}

impl AdminSettings {
    pub(super) fn check(&self, faults: &mut Faults) {
        if !self.listen.ip().is_loopback() && self.api_keys.is_empty() {
            faults.add("admin.listen", "an address beyond loopback needs admin.api_keys");
        }
        for (i, key) in self.api_keys.iter().enumerate() {
            if key.name.is_empty() {
                faults.add(format!("admin.api_keys[{i}].name"), "must not be empty");
            }
            if self.api_keys[..i].iter().any(|other| other.name == key.name) {
                faults.add(format!("admin.api_keys[{i}].name"), "stands twice");
            }
            // Which of them somebody is could not be told.
            if self.api_keys[..i].iter().any(|other| other.key == key.key) {
                faults.add(format!("admin.api_keys[{i}].key"), "is another key's");
            }
            if key.key.0.len() < 16 && key.key.0 != DEV_API_KEY {
                faults.add(
                    format!("admin.api_keys[{i}].key"),
                    "must be at least 16 characters long",
                );
            }
            for call in key.calls.iter().flatten() {
                let known = crate::api::rights();
                if !known.contains(&call.as_str()) {
                    faults.add(
                        format!("admin.api_keys[{i}].calls"),
                        format!("no call {call:?}; there are: {}", known.join(", ")),
                    );
                }
            }
        }
    }
}
