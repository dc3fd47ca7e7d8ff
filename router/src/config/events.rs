//! What is told of what happens, and to which webhooks.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::Deserialize;

use super::{Faults, Secret};
use crate::{bus::EventLimits, events::Kind, outgoing};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventSettings {
    /// Which are told; none: nothing is kept either.
    pub kinds: BTreeSet<Kind>,
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    pub max_bytes: ByteSize,
}

impl Default for EventSettings {
    fn default() -> Self {
        let limits = EventLimits::default();
        Self {
            kinds: Kind::ALL.into_iter().filter(|kind| *kind != Kind::Message).collect(),
            max_age: limits.max_age,
            max_bytes: ByteSize::b(limits.max_bytes),
        }
    }
}

impl EventSettings {
    pub fn limits(&self) -> EventLimits {
        EventLimits {
            max_age: self.max_age,
            max_bytes: self.max_bytes.as_u64(),
        }
    }

    pub fn check(&self, faults: &mut Faults) {
        if self.max_age < Duration::from_secs(300) || self.max_age > super::MAX_AGE {
            faults.add("events.max_age", "must be 5m to 87600h");
        }
        if self.max_bytes < ByteSize::mib(1) || self.max_bytes > ByteSize::tib(1) {
            faults.add("events.max_bytes", "must be 1MiB to 1TiB");
        }
    }
}

/// One receiver of events.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// By which its place is kept.
    pub name: String,
    pub url: String,
    /// With each of these a signature is made.
    pub secrets: Vec<Secret>,
    /// None: all that are told.
    pub events: Option<BTreeSet<Kind>>,
    #[serde(default = "batch")]
    pub max_batch: usize,
    #[serde(default = "timeout", with = "humantime_serde")]
    pub timeout: Duration,
    #[serde(default = "connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The first pause after a failure, doubled with each further one, ...
    #[serde(default = "retry_min", with = "humantime_serde")]
    pub retry_min: Duration,
    /// ... up to this.
    #[serde(default = "retry_max", with = "humantime_serde")]
    pub retry_max: Duration,
    /// An event that fails for so long is parked.
    #[serde(default = "give_up_after", with = "humantime_serde")]
    pub give_up_after: Duration,
    /// An event that the receiver refuses (4xx) this often is parked.
    #[serde(default = "refusals")]
    pub refusals: u32,
    /// Link-local addresses that its host may have all the same.
    #[serde(default)]
    pub allow_addresses: Vec<IpAddr>,
    /// PEM; None: the system's.
    pub ca_file: Option<PathBuf>,
}

fn batch() -> usize {
    100
}

fn timeout() -> Duration {
    Duration::from_secs(10)
}

fn connect_timeout() -> Duration {
    Duration::from_secs(3)
}

fn retry_min() -> Duration {
    Duration::from_millis(500)
}

fn retry_max() -> Duration {
    Duration::from_secs(30)
}

fn give_up_after() -> Duration {
    Duration::from_secs(12 * 3600)
}

fn refusals() -> u32 {
    5
}

impl WebhookSettings {
    pub fn outgoing(&self) -> outgoing::Settings<'_> {
        outgoing::Settings {
            url: &self.url,
            connect_timeout: self.connect_timeout,
            allow_addresses: &self.allow_addresses,
            ca_file: self.ca_file.as_ref(),
        }
    }

    fn check(&self, path: &str, told: &BTreeSet<Kind>, faults: &mut Faults) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            faults.add(format!("{path}.name"), "must be 1 to 64 letters, digits, - and _");
        }
        if let Err(fault) = outgoing::Client::new(&self.outgoing()) {
            faults.add(fault.path(path), fault.to_string());
        }
        if self.secrets.is_empty() || self.secrets.len() > 4 {
            faults.add(format!("{path}.secrets"), "must be 1 to 4");
        }
        if self.secrets.iter().any(|secret| secret.0.len() < 16) {
            faults.add(format!("{path}.secrets"), "each must be at least 16 characters long");
        }
        for kind in self.events.iter().flatten().filter(|kind| !told.contains(kind)) {
            let what = format!("{:?} is not among events.kinds", kind.as_str());
            faults.add(format!("{path}.events"), what);
        }
        if !(1..=500).contains(&self.max_batch) {
            faults.add(format!("{path}.max_batch"), "must be 1 to 500");
        }
        for (name, time, least, most) in [
            ("timeout", self.timeout, 1, 60_000),
            ("connect_timeout", self.connect_timeout, 1, 60_000),
            ("retry_min", self.retry_min, 10, 60_000),
            ("retry_max", self.retry_max, 10, 3_600_000),
        ] {
            if !(least..=most).contains(&time.as_millis()) {
                faults.add(
                    format!("{path}.{name}"),
                    format!("must be {least}ms to {}s", most / 1_000),
                );
            }
        }
        if self.retry_max < self.retry_min {
            faults.add(format!("{path}.retry_max"), "must not be less than retry_min");
        }
        if self.refusals == 0 {
            faults.add(format!("{path}.refusals"), "must be at least 1");
        }
    }
}

pub fn check_webhooks(webhooks: &[WebhookSettings], events: &EventSettings, faults: &mut Faults) {
    for (i, webhook) in webhooks.iter().enumerate() {
        let path = format!("webhooks[{i}]");
        webhook.check(&path, &events.kinds, faults);
        if webhooks[..i].iter().any(|other| other.name == webhook.name) {
            faults.add(format!("{path}.name"), "stands twice");
        }
    }
}
