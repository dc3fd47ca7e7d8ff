//! Logs on standard error, the recorder behind `/metrics`, and spans.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Level, Metadata};
use tracing_subscriber::{Registry, filter::filter_fn, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{
    config::{LogFormat, LoggingSettings},
    metrics::{
        catalogue::{Kind, Metric, SECONDS},
        cpu,
        node::{Busy, Sampled},
    },
};

mod levels;
#[cfg(feature = "otel")]
mod otel;
#[cfg(not(feature = "otel"))]
mod untraced;

pub use levels::{Held, LONGEST, Levels, filter};
#[cfg(feature = "otel")]
pub use otel::{Export, Span, start_tracing};
#[cfg(not(feature = "otel"))]
pub use untraced::{Export, Span, start_tracing};

/// Histograms gather samples until they are drained.
const UPKEEP: Duration = Duration::from_secs(5);

/// The levels can be changed from then on.
pub fn start_logging(settings: &LoggingSettings) -> anyhow::Result<Levels> {
    let (levels, handle) = reload::Layer::new(filter(&settings.level)?);
    let registry = Registry::default().with(levels);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let discreet = filter_fn(is_discreet);
    match settings.format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).with(discreet).try_init()?,
        LogFormat::Json => registry.with(lines.json()).with(discreet).try_init()?,
    }
    Ok(Levels::new(handle, &settings.level))
}

/// Libraries that trace tell what they send and receive, and so bodies, tokens and passwords.
fn is_discreet(event: &Metadata<'_>) -> bool {
    event.target().starts_with("herald") || *event.level() <= Level::DEBUG
}

/// Installs the recorder, which from then on counts what `metrics` describe. `binary` and `version` are the node's own.
pub fn start_metrics(
    metrics: &[&[Metric]],
    (binary, version): (&'static str, &'static str),
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<Figures> {
    let described = || metrics.iter().copied().flatten();
    let mut builder = PrometheusBuilder::new().set_buckets(SECONDS)?;
    for metric in described() {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let handle = builder.install_recorder()?;
    described().for_each(Metric::describe);
    let upkeep = handle.clone();
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        let mut busy = Busy::new();
        let upkeep = async {
            loop {
                every.tick().await;
                upkeep.run_upkeep();
                busy.look();
            }
        };
        shutdown.run_until_cancelled(upkeep).await;
    });
    Ok(Figures {
        handle,
        sampled: Sampled::new(binary, version),
    })
}

/// What `/metrics` shows.
pub struct Figures {
    handle: PrometheusHandle,
    sampled: Sampled,
}

impl Figures {
    pub fn render(&self) -> String {
        self.sampled.take();
        cpu::in_fractions(&self.handle.render())
    }
}
