//! The gateway's configuration: a TOML file, over it the environment (`HERALD_…`), over that the flags. All faults are
//! found before anything binds.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use herald_router::{
    config::{
        EventSettings, Faults, LogSettings, LoggingSettings, NatsSettings, Secret, TOP, TelemetrySettings, TlsSettings,
        WebhookSettings, check_node, check_webhooks, load,
    },
    policy::Policy,
};
use ipnet::IpNet;
use serde::Deserialize;

use crate::{auth::Auth, origin::Origins, proxies::AddressHeader};

mod admin;
mod dev;
mod dialects;
mod events;
mod hooks;
mod limits;
mod live;
mod services;
mod session;

pub use admin::{AdminSettings, ApiKeySettings};
pub use dev::{DEV_API_KEY, DEV_TOKEN_KEY};
pub use dialects::{DialectSettings, DialectsSettings};
pub use hooks::{HookSettings, HooksSettings, OnFailure};
pub use limits::LimitSettings;
pub use live::RULES;
pub use services::{AUTH, ECHO, ERROR_OPCODE, Key as RouteKey, MessageId, RouteSettings, ServiceSettings, is_name};
pub use session::{AccountSettings, LoginSettings, Relogin, SessionSettings};

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
    pub session: SessionSettings,
    pub login: LoginSettings,
    pub limits: LimitSettings,
    pub dialects: DialectsSettings,
    pub presence: PresenceSettings,
    /// Backends, by name; one without a table is reached over NATS.
    pub services: BTreeMap<String, ServiceSettings>,
    pub routes: Vec<RouteSettings>,
    /// Those of the services that decide.
    pub hooks: HooksSettings,
    /// The rules of the router inside; routers of a cluster have their own.
    pub router: Policy,
    /// The log of the router inside.
    pub log: LogSettings,
    pub events: EventSettings,
    /// Of the router inside.
    pub webhooks: Vec<WebhookSettings>,
    pub logging: LoggingSettings,
    pub telemetry: TelemetrySettings,
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
            session: SessionSettings::default(),
            login: LoginSettings::default(),
            limits: LimitSettings::default(),
            dialects: DialectsSettings::default(),
            presence: PresenceSettings::default(),
            services: BTreeMap::new(),
            routes: Vec::new(),
            hooks: HooksSettings::default(),
            router: Policy::default(),
            log: LogSettings {
                // In memory: a fraction of what a NATS server keeps on disk.
                max_bytes: ByteSize::mib(256),
                ..LogSettings::default()
            },
            events: EventSettings::default(),
            webhooks: Vec::new(),
            logging: LoggingSettings::default(),
            telemetry: TelemetrySettings::default(),
            dev: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublicSettings {
    pub listen: Vec<SocketAddr>,
    /// Of all of them. None: plain.
    pub tls: Option<TlsSettings>,
    pub origins: Vec<String>,
    /// Networks of reverse proxies, whose word on a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    pub client_address: AddressHeader,
}

impl Default for PublicSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 8002))],
            tls: None,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            client_address: AddressHeader::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    pub keys: Vec<KeySettings>,
    /// The kid of the key that signs; unset: the first that can.
    pub sign_with: Option<String>,
    pub audience: Option<String>,
    pub issuer: Option<String>,
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            sign_with: None,
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
    /// Beside the public one, where this key is to sign too.
    pub private_key_file: Option<PathBuf>,
    pub jwks_file: Option<PathBuf>,
}

impl KeySettings {
    pub(crate) fn can_sign(&self) -> bool {
        self.secret.is_some() || self.secret_file.is_some() || self.private_key_file.is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PresenceSettings {
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for PresenceSettings {
    fn default() -> Self {
        Self {
            grace: herald_proto::limits::GRACE,
        }
    }
}

impl PresenceSettings {
    fn check(&self, faults: &mut Faults) {
        if self.grace > Duration::from_secs(300) {
            faults.add("presence.grace", "must be at most 5m");
        }
    }
}

impl GatewayConfig {
    /// Reads `text`, with `env` over it. The faults so far go on into [`Self::check`], after the flags.
    pub fn parse(text: &str, env: impl Iterator<Item = (String, String)>) -> (Self, Faults) {
        load::parse(text, env, TOP)
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
        self.events.check(faults);
        check_webhooks(&self.webhooks, &self.events, faults);
        if !self.webhooks.is_empty() && !self.nats.urls.is_empty() {
            faults.add("webhooks", "with NATS they stand in the routers' files");
        }
        self.telemetry.check(faults);
        self.limits
            .check(self.dialects.largest_frame(self.limits.frame), faults);
        self.presence.check(faults);
        self.session.check(faults);
        self.login.check(faults);
        self.check_login_keys(faults);
        self.admin.check(faults);
        services::check_services(&self.services, &self.closed_services(), faults);
        services::check_routes(&self.routes, faults);
        self.hooks.check(faults);
        self.check_addresses(faults);
        self.dialects.check(&self.public.listen, faults);
        self.check_tls(faults);
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

    /// Who logs in gets a token, which somebody must sign.
    fn check_login_keys(&self, faults: &mut Faults) {
        let logs_in = self.login.service.is_some() || !self.login.accounts.is_empty();
        if logs_in && !self.auth.keys.iter().any(KeySettings::can_sign) && !faults.has("auth") {
            let what = "needs a key that can sign in auth.keys: one with secret, secret_file or private_key_file";
            faults.add("login", what);
        }
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

    fn check_tls(&self, faults: &mut Faults) {
        for (path, tls) in [("public.tls", &self.public.tls), ("admin.tls", &self.admin.tls)] {
            if let Some(tls) = tls
                && !faults.has(path)
            {
                tls.check(path, faults);
            }
        }
    }

    /// What clients may never call by name.
    pub fn closed_services(&self) -> Vec<&str> {
        let login = [&self.login.service, &self.login.then];
        let login = login.into_iter().filter_map(Option::as_deref);
        std::iter::once(AUTH)
            .chain(login)
            .chain(self.hooks.services())
            .collect()
    }

    /// What `--dev` changes.
    pub fn develop(&mut self) {
        dev::apply(self);
    }
}

#[cfg(test)]
mod tests;
