//! The durable canary: something is published, stored, and comes back live, all the way that messages take.
//!
//! Nobody has to send one: every router appends a beat to the log each second, on a subject of its own, of which the log
//! keeps no more than of any other. The server republishes it as it does messages, and each node listens.

use std::{borrow::Cow, time::Duration};

use futures_util::StreamExt;
use tracing::debug;

use super::Last;
use crate::bus::Bus;

/// Before a subscription that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Listens for beats.
#[derive(Default)]
pub struct Canary(Last);

impl Canary {
    /// Works until dropped.
    pub async fn run(&self, bus: &Bus) {
        loop {
            match bus.log.beats().await {
                Ok(mut beats) => {
                    while beats.next().await.is_some() {
                        self.0.note();
                    }
                }
                Err(error) => debug!(%error, "beats cannot be heard yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Err says for how long nothing that was stored has come back.
    pub fn check(&self) -> Result<(), Cow<'static, str>> {
        match self.0.missing() {
            None => Ok(()),
            Some(None) => Err("nothing that is stored has come back live yet".into()),
            Some(Some(long)) => {
                let seconds = long.as_secs_f32();
                Err(format!("nothing that is stored has come back live for {seconds:.1} s").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bus::memory, config::LogSettings};

    #[tokio::test]
    async fn a_beat_that_comes_back_makes_it_sing() {
        let bus = memory::bus(LogSettings::default().limits());
        let canary = Canary::default();
        let beats = async {
            while canary.check().is_err() {
                bus.log.beat().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(canary.check().is_err());
        tokio::select! {
            () = beats => {}
            () = canary.run(&bus) => {}
        }
        assert!(canary.check().is_ok());
    }
}
