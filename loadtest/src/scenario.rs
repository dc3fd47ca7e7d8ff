//! The scenarios: what clients and senders do, one file each, put together from the steps of [`stage`].

pub mod broadcast;
pub mod churn;
pub mod group;
pub mod http;
pub mod idle;
pub mod mixed;
pub mod soak;
pub mod storm;
pub mod unicast;

mod progress;
mod stage;
mod tally;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    bounds,
    drive::pacer::{Due, steady},
    target::To,
};

/// How much is sent, and for how long.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub struct Pace {
    /// Messages a second, all targets together
    #[arg(long, value_parser = bounds::RATE.number(), default_value = "100", value_name = "PER SECOND")]
    pub rate: f64,
    /// Messages that are due at the same time
    #[arg(long, value_parser = bounds::BURST.whole::<u64>(), default_value = "1", value_name = "MESSAGES")]
    pub burst: u64,
    /// How long messages are sent, with its unit: 90s, 5m, 2h
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "10s")]
    pub duration: Duration,
    /// As many messages as this, all due at once, in place of rate and duration: for throughput
    #[arg(long, value_parser = bounds::MESSAGES.whole::<u64>(), value_name = "MESSAGES")]
    pub flat_out: Option<u64>,
}

impl Pace {
    pub fn steady(rate: f64, duration: Duration) -> Self {
        Self {
            rate,
            burst: 1,
            duration,
            flat_out: None,
        }
    }

    /// Of no message nothing can be measured.
    pub fn check(&self) -> Result<()> {
        let (rate, duration) = (self.rate, humantime::format_duration(self.duration));
        ensure!(
            self.flat_out.is_some() || rate * self.duration.as_secs_f64() >= 1.0,
            "--rate {rate} for a --duration of {duration} is no message at all"
        );
        Ok(())
    }

    pub fn schedule(&self, mut pick: impl FnMut(u64) -> To + Send + 'static) -> Box<dyn Iterator<Item = Due> + Send> {
        match self.flat_out {
            None => Box::new(steady(self.rate, self.burst, self.duration, pick)),
            Some(total) => Box::new((0..total).map(move |turn| Due {
                after: Duration::ZERO,
                to: pick(turn),
            })),
        }
    }

    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        match self.flat_out {
            Some(total) => vec![("flat out", total.to_string())],
            None => vec![
                ("rate", self.rate.to_string()),
                ("burst", self.burst.to_string()),
                ("duration", humantime::format_duration(self.duration).to_string()),
            ],
        }
    }

    /// Enough senders that none has more than 200 messages a second.
    pub fn senders(&self) -> usize {
        let senders = if self.flat_out.is_some() {
            32.0
        } else {
            (self.rate / 200.0).ceil()
        };
        (senders as usize).clamp(1, 64)
    }
}
