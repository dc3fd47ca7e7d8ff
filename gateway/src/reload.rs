//! SIGHUP: what of the configuration can change while the gateway runs, changes, and nobody is dropped for it.

use std::sync::Arc;

use herald_router::{
    cli::ConfigError,
    core::Router,
    reload::{self, Configured},
    shutdown::Hangups,
    telemetry::Levels,
};
use toml::Table;

use crate::{
    api::Keys,
    config::{GatewayConfig, RULES},
    gateway::Gateway,
    tls::{Certificates, Exchange},
};

/// What can change.
pub struct Live {
    pub gateway: Arc<Gateway>,
    pub certificates: Arc<Certificates>,
    pub api_keys: Keys,
    pub levels: Levels,
    /// The router inside, where there is no NATS.
    pub router: Option<Router>,
}

impl Live {
    /// Works until dropped.
    pub async fn follow(
        &self,
        hangups: Hangups,
        running: Table,
        again: impl Fn() -> Result<Configured<GatewayConfig>, ConfigError>,
    ) {
        reload::run(hangups, &RULES, running, again, |config| self.take(config)).await;
    }

    /// All that can fail comes before the first change.
    fn take(&self, config: &GatewayConfig) -> Result<(), ConfigError> {
        let exchange = Exchange::load(config)?;
        self.gateway.auth.reload(&config.auth)?;
        self.certificates.exchange(exchange);
        self.api_keys.exchange(&config.admin.api_keys);
        if let Some(router) = &self.router {
            router.set_policy(&config.router);
        }
        self.levels.configure(&config.logging.level);
        Ok(())
    }
}
