//! The router's configuration, and the parts that it shares with the gateway's: a TOML file, over it the environment
//! (`HERALD_…`), over that the flags. All faults are found before anything binds.

use std::{fmt, net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer};

use crate::{bus::LogLimits, policy::Policy};

pub mod changes;
pub mod events;
pub mod load;
mod nats;
mod telemetry;
pub mod tls;

pub use events::{EventSettings, WebhookSettings, check_webhooks};
pub use load::{Fault, Faults};
pub use nats::{NatsSettings, NatsTlsSettings};
pub use telemetry::TelemetrySettings;
pub use tls::TlsSettings;

/// The whole commented default configuration, as `herald-router config` prints it.
pub const DEFAULT: &str = include_str!("config/default.toml");

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouterConfig {
    pub node: Option<String>,
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    pub admin: AdminSettings,
    pub nats: NatsSettings,
    pub policy: Policy,
    pub log: LogSettings,
    pub events: EventSettings,
    pub webhooks: Vec<WebhookSettings>,
    pub logging: LoggingSettings,
    pub telemetry: TelemetrySettings,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            node: None,
            drain: Duration::from_secs(30),
            admin: AdminSettings {
                listen: SocketAddr::from(([127, 0, 0, 1], 9003)),
                tls: None,
                api_keys: Vec::new(),
            },
            nats: NatsSettings {
                urls: vec![Secret("nats://127.0.0.1:4222".to_owned())],
                ..NatsSettings::default()
            },
            policy: Policy::default(),
            log: LogSettings::default(),
            events: EventSettings::default(),
            webhooks: Vec::new(),
            logging: LoggingSettings::default(),
            telemetry: TelemetrySettings::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    pub tls: Option<TlsSettings>,
    #[serde(default)]
    pub api_keys: Vec<ApiKeySettings>,
}

/// Who may ask for more than health and metrics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySettings {
    pub name: String,
    pub key: Secret,
}

/// Text that must not reach a log: credentials, keys, and URLs that may hold them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    pub max_messages_per_target: u64,
    pub max_bytes: ByteSize,
    pub replicas: Option<usize>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(72 * 3600),
            max_messages_per_target: 1000,
            max_bytes: ByteSize::gib(4),
            replicas: None,
        }
    }
}

impl LogSettings {
    pub fn limits(&self) -> LogLimits {
        LogLimits {
            max_age: self.max_age,
            max_messages_per_target: self.max_messages_per_target,
            max_bytes: self.max_bytes.as_u64(),
            replicas: self.replicas,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingSettings {
    #[serde(deserialize_with = "level")]
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for LoggingSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match crate::telemetry::filter(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(serde::de::Error::custom(error)),
    }
}

/// Names of the environment that count without a double underscore.
pub const TOP: &[&str] = &["node", "drain"];

/// What of a router's settings can change while it runs.
pub const RULES: changes::Rules = changes::Rules {
    live: &[
        "admin.tls",
        "policy.client_join",
        "policy.direct",
        "policy.visibility",
        "policy.groups_per_user",
        "policy.revocations_kept",
        "logging.level",
    ],
    restart: &[
        "node",
        "drain",
        "admin.listen",
        "admin.api_keys",
        "nats",
        "policy.last_seen_kept",
        "log",
        "events",
        "webhooks",
        "logging.format",
        "telemetry",
    ],
    secret: &[
        "admin.api_keys",
        "nats.urls",
        "nats.password",
        "nats.token",
        "nats.nkey_seed",
        "webhooks",
    ],
    lasting: &["admin.tls"],
};

impl RouterConfig {
    /// Reads and checks `text`, with `env` over it.
    pub fn parse(text: &str, env: impl Iterator<Item = (String, String)>) -> Result<Self, Faults> {
        let (config, mut faults) = load::parse::<Self>(text, env, TOP);
        config.check(&mut faults);
        faults.or(config)
    }

    pub fn check(&self, faults: &mut Faults) {
        if faults.nothing_to_check() {
            return;
        }
        if self.nats.urls.is_empty() && !faults.has("nats.urls") {
            faults.add("nats.urls", "a router needs at least one NATS URL");
        }
        check_node(self.node.as_deref(), faults);
        self.nats.check(faults);
        self.policy.check("policy", faults);
        self.log.check(faults);
        self.events.check(faults);
        check_webhooks(&self.webhooks, &self.events, faults);
        self.telemetry.check(faults);
        if let Some(tls) = &self.admin.tls {
            tls.check("admin.tls", faults);
        }
        for (i, key) in self.admin.api_keys.iter().enumerate() {
            if key.key.0.len() < 16 {
                let least = "must be at least 16 characters long";
                faults.add(format!("admin.api_keys[{i}].key"), least);
            }
        }
    }
}

pub fn check_node(node: Option<&str>, faults: &mut Faults) {
    if let Some(node) = node
        && let Err(error) = herald_proto::id::check("node", node)
    {
        faults.add("node", error.to_string());
    }
}

/// NATS holds an age as nanoseconds in 64 bits, which is 292 years; nobody who writes more than ten means it.
const MAX_AGE: Duration = Duration::from_secs(87_600 * 3_600);
/// What NATS can hold.
const MAX_NUMBER: u64 = i64::MAX as u64;

impl LogSettings {
    pub fn check(&self, faults: &mut Faults) {
        if self.max_age < Duration::from_secs(300) {
            // Retries are recognised for 150 s, and a stream cannot do that for longer than it keeps messages.
            faults.add("log.max_age", "must be at least 5m");
        }
        if self.max_age > MAX_AGE {
            faults.add("log.max_age", "must be at most 87600h (ten years)");
        }
        if self.max_messages_per_target == 0 {
            faults.add("log.max_messages_per_target", "must be at least 1");
        }
        if self.max_messages_per_target > MAX_NUMBER {
            let most = format!("must be at most {MAX_NUMBER}");
            faults.add("log.max_messages_per_target", most);
        }
        if self.max_bytes < ByteSize::mib(1) {
            faults.add("log.max_bytes", "must be at least 1MiB");
        }
        if self.max_bytes.as_u64() > MAX_NUMBER {
            faults.add("log.max_bytes", "must be less than 8EiB");
        }
        if let Some(replicas) = self.replicas
            && !(1..=5).contains(&replicas)
        {
            faults.add("log.replicas", "must be 1 to 5");
        }
    }
}

#[cfg(test)]
mod tests;
