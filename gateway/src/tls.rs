//! TLS of this gateway's listeners.

use std::sync::Arc;

use herald_router::{
    config::{Faults, TlsSettings},
    tls::{Loaded, Tls},
};
use tracing::warn;

use crate::{config::GatewayConfig, metrics};

/// None: plain.
pub struct Certificates {
    pub public: Option<Arc<Tls>>,
    pub admin: Option<Arc<Tls>>,
}

/// Those that are to stand in their place.
pub struct Exchange {
    public: Option<(TlsSettings, Loaded)>,
    admin: Option<(TlsSettings, Loaded)>,
}

impl Certificates {
    /// `config` has been checked: what cannot be loaded now has changed since, and is named.
    pub fn new(config: &GatewayConfig) -> Result<Self, Faults> {
        let make = |settings: &Option<TlsSettings>, listener: &'static str| {
            let tls = settings.as_ref();
            let tls = tls.map(|settings| Tls::new(settings, listener, metrics::tls(listener)));
            tls.transpose().map_err(|fault| fault.of(&format!("{listener}.tls")))
        };
        Ok(Self {
            public: make(&config.public.tls, "public")?,
            admin: make(&config.admin.tls, "admin")?,
        })
    }

    /// Follows the files until dropped.
    pub async fn follow(&self) {
        let follow = async |tls: &Option<Arc<Tls>>| {
            if let Some(tls) = tls {
                tls.follow().await;
            }
        };
        tokio::join!(follow(&self.public), follow(&self.admin));
    }

    /// Takes the place of those before. What cannot change without a restart is told.
    pub fn exchange(&self, new: Exchange) {
        for (listener, tls, new) in [("public", &self.public, new.public), ("admin", &self.admin, new.admin)] {
            match (tls, new) {
                (Some(tls), Some((settings, loaded))) => tls.exchange(&settings, loaded),
                (None, None) => {}
                _ => warn!(listener, "whether a listener speaks TLS changes only with a restart"),
            }
        }
    }
}

impl Exchange {
    /// All of them, or what is wrong with the first that cannot be.
    pub fn load(config: &GatewayConfig) -> Result<Self, Faults> {
        let load = |settings: &Option<TlsSettings>, listener: &str| match settings {
            None => Ok(None),
            Some(settings) => match Loaded::read(settings) {
                Ok(loaded) => Ok(Some((settings.clone(), loaded))),
                Err(fault) => Err(fault.of(&format!("{listener}.tls"))),
            },
        };
        Ok(Self {
            public: load(&config.public.tls, "public")?,
            admin: load(&config.admin.tls, "admin")?,
        })
    }
}
