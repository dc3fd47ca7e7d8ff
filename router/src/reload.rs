//! What a node does on SIGHUP: it reads its configuration anew, changes what can change, and says so. Where anything is
//! wrong, nothing changes.

use std::sync::Arc;

use toml::Table;
use tracing::{error, info, warn};

mod files;

use files::Files;

use crate::{
    cli::ConfigError,
    config::{
        RULES, RouterConfig,
        changes::{Change, Rules},
    },
    core::Router,
    metrics::node,
    shutdown::Hangups,
    telemetry::Levels,
    tls::{Loaded, Tls},
};

/// A configuration, with the tree of its settings.
pub struct Configured<C> {
    pub config: C,
    pub tree: Table,
}

/// Reads with `again` at each hangup and has `take` change what is live, or nothing at all; works until dropped. `running`
/// is the tree that the node was started with.
pub async fn run<C>(
    mut hangups: Hangups,
    rules: &Rules,
    mut running: Table,
    again: impl Fn() -> Result<Configured<C>, ConfigError>,
    take: impl Fn(&C) -> Result<(), ConfigError>,
) {
    let mut files = Files::of(&running);
    loop {
        hangups.next().await;
        let outcome = again().and_then(|read| {
            take(&read.config)?;
            let now = files.again(&read.tree);
            let changed = now.changed_since(&files);
            files = now;
            Ok((rules.apply(&mut running, &read.tree), changed))
        });
        node::reloaded(outcome.is_ok());
        match outcome {
            Ok((changes, files)) => report(&changes, &files),
            Err(error) => error!(%error, "the configuration cannot be used: nothing was changed"),
        }
    }
}

/// These lines are written whatever level the log has.
fn report(changes: &[Change], files: &[String]) {
    let (live, restart): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.live);
    for change in &live {
        info!(%change, "a setting has changed");
    }
    for setting in files {
        info!(setting, "its file holds something else than before");
    }
    for change in &restart {
        warn!(%change, "a setting differs from the one that runs: it needs a restart");
    }
    info!(
        changed = live.len() + files.len(),
        need_restart = restart.len(),
        "the configuration was read anew, with the keys and certificates that it names"
    );
}

/// What of a router can change.
pub struct Live {
    pub router: Router,
    /// Of the admin listener.
    pub tls: Option<Arc<Tls>>,
    pub levels: Levels,
}

impl Live {
    /// Works until dropped.
    pub async fn follow(
        &self,
        hangups: Hangups,
        running: Table,
        again: impl Fn() -> Result<Configured<RouterConfig>, ConfigError>,
    ) {
        run(hangups, &RULES, running, again, |config| self.take(config)).await;
    }

    /// All that can fail comes first.
    fn take(&self, config: &RouterConfig) -> Result<(), ConfigError> {
        if let (Some(tls), Some(settings)) = (&self.tls, &config.admin.tls) {
            let loaded = Loaded::read(settings).map_err(|fault| fault.of("admin.tls"))?;
            tls.exchange(settings, loaded);
        }
        self.router.set_policy(&config.policy);
        self.levels.configure(&config.logging.level);
        Ok(())
    }
}
