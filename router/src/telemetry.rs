//! Logs on standard error, and the recorder behind `/metrics`.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, LoggingSettings};

/// Latencies of a message's way: from 100 µs, what NATS takes at best, to the 10 s within which all is answered.
const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Histograms gather samples until they are drained.
const UPKEEP: Duration = Duration::from_secs(5);

pub fn start_logging(settings: &LoggingSettings) -> anyhow::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&settings.level)?)
        .with_writer(std::io::stderr);
    let discreet = filter_fn(is_discreet);
    match settings.format {
        LogFormat::Text => builder.with_ansi(false).finish().with(discreet).try_init()?,
        LogFormat::Json => builder.json().finish().with(discreet).try_init()?,
    }
    Ok(())
}

/// Libraries that trace tell what they send and receive, and so bodies, tokens and passwords.
fn is_discreet(event: &Metadata<'_>) -> bool {
    event.target().starts_with("herald") || *event.level() <= Level::DEBUG
}

pub fn start_metrics(shutdown: &CancellationToken, tasks: &TaskTracker) -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(SECONDS_BUCKETS)?
        .install_recorder()?;
    let upkeep = handle.clone();
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        let upkeep = async {
            loop {
                every.tick().await;
                upkeep.run_upkeep();
            }
        };
        shutdown.run_until_cancelled(upkeep).await;
    });
    Ok(handle)
}
