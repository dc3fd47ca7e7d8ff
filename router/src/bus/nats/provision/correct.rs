//! Brings streams that exist to our settings.

use async_nats::jetstream::stream::{Config, Info};
use tokio::time::Instant;

use super::{
    super::{READ, error::ApiError, kept, streams},
    CHECK, REPLICAS, SPREAD, Supervisor,
};
use crate::bus::BusError;

impl Supervisor {
    /// Brings an existing stream to our limits. What the server refuses is told once and left as it is. True where
    /// anything had to be changed: then `found` no longer tells what stands.
    pub(super) async fn correct(&mut self, wanted: &Config, found: &Info, spread: bool) -> Result<bool, ApiError> {
        let given = self.config.limits.replicas;
        let spread = spread && given.is_none() && self.clustered() && found.config.num_replicas < REPLICAS;
        let first = !self.corrected.contains(&wanted.name);
        let mut changed = false;
        if first {
            changed = self.update(streams::correction(wanted, found, given)).await?;
            self.corrected.insert(wanted.name.clone());
        }
        if spread {
            // Apart from the limits, so that a refusal of the one does not keep the other from being set.
            let wanted = if first { wanted } else { &found.config };
            changed |= self.update(streams::correction(wanted, found, Some(REPLICAS))).await?;
        }
        Ok(changed)
    }

    /// Notes up to where a limit was in force that has been raised. Not at once: replicas learn of it each in its time,
    /// and trim by the old one until then.
    pub(super) async fn settle(&mut self, found: &Info) -> Result<(), ApiError> {
        let stream = &found.config.name;
        let Some(settled) = kept::settled(found) else {
            self.raised.remove(stream);
            return Ok(());
        };
        let now = Instant::now();
        let due = self.raised.entry(stream.clone()).or_insert(now + CHECK);
        if now < *due {
            return Ok(());
        }
        // Where it is refused, the next attempt.
        *due = now + SPREAD;
        self.update(Some(settled)).await?;
        Ok(())
    }

    fn clustered(&self) -> bool {
        let server = self.shared.link.client().try_server_info();
        server.is_some_and(|server| server.cluster.is_some())
    }

    /// True where there was something to ask for.
    async fn update(&self, config: Option<Config>) -> Result<bool, ApiError> {
        let Some(config) = config else {
            return Ok(false);
        };
        let subject = format!("STREAM.UPDATE.{}", config.name);
        match self.shared.link.api::<Info>(&subject, &config, 3 * READ).await {
            Ok(_) => tracing::info!(stream = config.name, "settings updated"),
            Err(error @ (ApiError::Bus(_) | ApiError::Away(_) | ApiError::NotFound)) => return Err(error),
            Err(error) => {
                let error = BusError::from(error);
                tracing::warn!(stream = config.name, %error, "NATS keeps the stream's old settings");
            }
        }
        Ok(true)
    }
}
