//! SIGHUP: keys, certificates and limits are read anew, and nobody is dropped for it. Where anything is wrong, nothing changes.

use herald_router::{cli::ConfigError, shutdown::Hangups};
use tracing::{error, info};

use crate::{
    config::GatewayConfig,
    gateway::Gateway,
    tls::{Certificates, Exchange},
};

/// Works until dropped. `again` reads the configuration.
pub async fn run(
    mut hangups: Hangups,
    gateway: &Gateway,
    certificates: &Certificates,
    again: impl Fn() -> Result<GatewayConfig, ConfigError> + Send,
) {
    loop {
        hangups.next().await;
        let outcome = again().and_then(|config| {
            let exchange = Exchange::load(&config)?;
            gateway.auth.reload(&config.auth)?;
            certificates.exchange(exchange);
            Ok(gateway.limits.reload(&config.limits))
        });
        match outcome {
            Ok(limits) => {
                info!("the keys of tokens, the certificates and the limits were read anew");
                limits.applied.iter().for_each(|change| info!("{change}"));
                limits
                    .needs_restart
                    .iter()
                    .for_each(|change| info!("{change} with the next start"));
            }
            Err(error) => error!(%error, "the configuration cannot be used: nothing was changed"),
        }
    }
}
