//! The gateway's configuration: a TOML file, over it the environment (`HERALD_…`), over that the flags. All faults are
//! found before anything binds.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use herald_proto::limits;
use herald_router::{
    config::{Faults, LogSettings, LoggingSettings, NatsSettings, Secret, check_node, load},
    policy::Policy,
};
use serde::Deserialize;

use crate::{auth::Auth, origin::Origins};

mod dev;

pub use dev::{DEV_API_KEY, DEV_TOKEN_KEY};

/// The whole commented default configuration, as `herald-gateway config` prints it.
pub const DEFAULT: &str = include_str!("config/default.toml");

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    pub node: Option<String>,
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    pub public: PublicSettings,
    pub admin: AdminSettings,
    /// Without a URL the router runs inside this process.
    pub nats: NatsSettings,
    pub auth: AuthSettings,
    pub limits: LimitSettings,
    /// The rules of the router inside; routers of a cluster have their own.
    pub router: Policy,
    /// The log of the router inside.
    pub log: LogSettings,
    pub logging: LoggingSettings,
    /// Set by the flag only.
    #[serde(skip)]
    pub dev: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            node: None,
            drain: Duration::from_secs(30),
            public: PublicSettings::default(),
            admin: AdminSettings::default(),
            nats: NatsSettings::default(),
            auth: AuthSettings::default(),
            limits: LimitSettings::default(),
            router: Policy::default(),
            log: LogSettings {
                // In memory: a fraction of what a NATS server keeps on disk.
                max_bytes: ByteSize::mib(256),
                ..LogSettings::default()
            },
            logging: LoggingSettings::default(),
            dev: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublicSettings {
    pub listen: Vec<SocketAddr>,
    pub origins: Vec<String>,
}

impl Default for PublicSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 8002))],
            origins: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    pub api_keys: Vec<ApiKeySettings>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9002)),
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

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    pub keys: Vec<KeySettings>,
    pub audience: Option<String>,
    pub issuer: Option<String>,
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            audience: None,
            issuer: None,
            leeway: Duration::from_secs(5),
        }
    }
}

/// One verification key, from exactly one of the four sources.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    pub kid: Option<String>,
    pub algorithm: Option<String>,
    pub secret: Option<Secret>,
    pub secret_file: Option<PathBuf>,
    pub public_key_file: Option<PathBuf>,
    pub jwks_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    pub frame: ByteSize,
    pub outbox: ByteSize,
    pub commands_per_second: u32,
    pub commands_burst: u32,
    pub connections_per_address: u32,
    pub connects_per_second: u32,
    pub connects_burst: u32,
    pub http_body: ByteSize,
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub pong_timeout: Duration,
    /// Set by `--dev`: no limits by address, none on the rate of commands.
    #[serde(skip)]
    pub rates_lifted: bool,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            frame: ByteSize::b(limits::FRAME_BYTES),
            outbox: ByteSize::b(limits::OUTBOX_BYTES),
            commands_per_second: limits::COMMANDS_PER_SECOND,
            commands_burst: limits::COMMANDS_BURST,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            connects_per_second: limits::CONNECTS_PER_SECOND,
            connects_burst: limits::CONNECTS_BURST,
            http_body: ByteSize::b(limits::HTTP_BODY_BYTES),
            connect_timeout: limits::CONNECT,
            ping_interval: limits::PING,
            pong_timeout: limits::PONG,
            rates_lifted: false,
        }
    }
}

impl GatewayConfig {
    /// Reads `text`, with `env` over it. The faults so far go on into [`Self::check`], after the flags.
    pub fn parse(text: &str, env: impl Iterator<Item = (String, String)>) -> (Self, Faults) {
        load::parse(text, env, &["node", "drain"])
    }

    /// Names everything that is wrong. Key files are read too: nothing may be found wrong only after binding.
    pub fn check(&self, faults: &mut Faults) {
        if faults.nothing_to_check() {
            return;
        }
        check_node(self.node.as_deref(), faults);
        self.nats.check(faults);
        self.router.check("router", faults);
        self.log.check(faults);
        self.limits.check(faults);
        self.admin.check(faults);
        self.check_addresses(faults);
        Origins::check(&self.public.origins, faults);
        if self.dev {
            dev::check(self, faults);
        } else {
            if self.auth.keys.is_empty() && !faults.has("auth") {
                faults.add(
                    "auth.keys",
                    "at least one key is needed to verify tokens (or run with --dev)",
                );
            }
            dev::refuse_development_keys(self, faults);
        }
        Auth::check(&self.auth, faults);
    }

    fn check_addresses(&self, faults: &mut Faults) {
        let public = &self.public.listen;
        if public.is_empty() && !faults.has("public.listen") {
            faults.add("public.listen", "at least one address is needed");
        }
        // Port 0 is a free one each time.
        let twice = |address: &SocketAddr, others: &[SocketAddr]| address.port() != 0 && others.contains(address);
        for (i, address) in public.iter().enumerate() {
            if twice(address, &public[..i]) {
                faults.add("public.listen", format!("{address} stands twice"));
            }
        }
        if twice(&self.admin.listen, public) {
            faults.add("admin.listen", "is a public address too");
        }
    }

    /// What `--dev` changes.
    pub fn develop(&mut self) {
        dev::apply(self);
    }
}

impl AdminSettings {
    fn check(&self, faults: &mut Faults) {
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
            if key.key.0.len() < 16 && key.key.0 != DEV_API_KEY {
                faults.add(
                    format!("admin.api_keys[{i}].key"),
                    "must be at least 16 characters long",
                );
            }
            for call in key.calls.iter().flatten() {
                if !crate::api::CALLS.contains(&call.as_str()) {
                    faults.add(
                        format!("admin.api_keys[{i}].calls"),
                        format!("no call {call:?}; there are: {}", crate::api::CALLS.join(", ")),
                    );
                }
            }
        }
    }
}

impl LimitSettings {
    fn check(&self, faults: &mut Faults) {
        let frame = self.frame.as_u64();
        if !(128..=16 << 20).contains(&frame) {
            faults.add("limits.frame", "must be 128B to 16MiB");
        }
        if self.outbox.as_u64() < 2 * frame {
            faults.add("limits.outbox", "must hold at least two frames of limits.frame");
        }
        for (name, value) in [
            ("commands_per_second", self.commands_per_second),
            ("commands_burst", self.commands_burst),
            ("connections_per_address", self.connections_per_address),
            ("connects_per_second", self.connects_per_second),
            ("connects_burst", self.connects_burst),
        ] {
            if value == 0 {
                faults.add(format!("limits.{name}"), "must be at least 1");
            }
        }
        if self.http_body.as_u64() < 1024 {
            faults.add("limits.http_body", "must be at least 1KiB");
        }
        let second = Duration::from_secs(1);
        if self.connect_timeout < second / 10 {
            faults.add("limits.connect_timeout", "must be at least 100ms");
        }
        if self.ping_interval < second / 10 || self.ping_interval > 3600 * second {
            faults.add("limits.ping_interval", "must be 100ms to 1h");
        }
        if self.pong_timeout.is_zero() || self.pong_timeout >= self.ping_interval {
            faults.add(
                "limits.pong_timeout",
                "must be more than zero and less than limits.ping_interval",
            );
        }
    }
}

#[cfg(test)]
mod tests;
