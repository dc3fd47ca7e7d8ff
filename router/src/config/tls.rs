//! TLS of a listener.

use std::path::PathBuf;

use serde::Deserialize;

use super::Faults;
use crate::tls;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate and those between it and its root, in PEM, the listener's own first.
    pub cert_file: PathBuf,
    /// Its private key in PEM.
    pub key_file: PathBuf,
    #[serde(default)]
    pub min_version: TlsVersion,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsSettings {
    /// The files are read: nothing may be found wrong only when clients come.
    pub fn check(&self, path: &str, faults: &mut Faults) {
        if let Err(fault) = tls::check(self) {
            faults.add(format!("{path}.{}", fault.setting()), fault.to_string());
        }
    }
}
