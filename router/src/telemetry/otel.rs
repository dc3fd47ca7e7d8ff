//! Spans, exported to an OpenTelemetry collector by OTLP over HTTP. Only with the feature `otel`; `untraced` stands in for this without it.
//!
//! Gateways begin traces and decide which are sampled. A span of one that is not sampled is nothing.

use std::{collections::HashMap, future::Future, sync::OnceLock, time::Duration};

use futures_util::future::Either;
use opentelemetry::{
    Context, KeyValue, Value,
    propagation::TextMapPropagator,
    trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use tokio::{sync::oneshot, time::timeout};
use tracing::warn;

use crate::config::TelemetrySettings;

mod collector;

use collector::Collector;

/// For one request to the collector.
const DEADLINE: Duration = Duration::from_secs(5);
/// At the end, for what has not been sent yet.
const FLUSH: Duration = Duration::from_secs(2);
const PARENT: &str = "traceparent";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Begins to export, where the settings name a collector. Needs the runtime.
pub fn start_tracing(settings: &TelemetrySettings, node: &str, binary: (&'static str, &str)) -> anyhow::Result<Export> {
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(Export(None));
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new())
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(DEADLINE)
        .build()?;
    let (name, version) = binary;
    let about = [
        KeyValue::new("service.version", version.to_owned()),
        KeyValue::new("service.instance.id", node.to_owned()),
    ];
    let resource = Resource::builder().with_service_name(name).with_attributes(about);
    // Its queue is bounded: what comes beyond is dropped.
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            settings.otlp_sample,
        ))))
        .with_resource(resource.build())
        .build();
    let first = TRACER.set(provider.tracer("herald")).is_ok();
    anyhow::ensure!(first, "spans are exported already");
    Ok(Export(Some(provider)))
}

/// To be ended, so that the last spans are sent.
pub struct Export(Option<SdkTracerProvider>);

impl Export {
    /// Takes no longer than a moment, whatever the collector does.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let (sender, ended) = oneshot::channel();
        // A thread of its own: the runtime's end would wait for one of its blocking ones.
        std::thread::spawn(move || sender.send(provider.shutdown_with_timeout(FLUSH)));
        match timeout(FLUSH * 2, ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => warn!(%error, "not all spans were sent"),
            Ok(Err(_)) | Err(_) => warn!("not all spans were sent in time"),
        }
    }
}

/// Work that is timed and told of, until dropped with all its clones.
#[derive(Clone)]
pub struct Span(Option<Context>);

impl Span {
    /// The beginning of a trace, which is sampled or not.
    pub fn root(name: &'static str) -> Self {
        Self::new(name, SpanKind::Server, &Context::new())
    }

    /// A part of the current one.
    pub fn child(name: &'static str) -> Self {
        match Self::current().0 {
            Some(parent) => Self::new(name, SpanKind::Internal, &parent),
            None => Self(None),
        }
    }

    /// A part of another process's, as its `traceparent` tells; nothing where that is missing or empty.
    pub fn remote(name: &'static str, traceparent: Option<&str>) -> Self {
        let Some(traceparent) = traceparent.filter(|text| !text.is_empty()) else {
            return Self(None);
        };
        let carrier = HashMap::from([(PARENT.to_owned(), traceparent.to_owned())]);
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        match parent.span().span_context().is_sampled() {
            true => Self::new(name, SpanKind::Consumer, &parent),
            false => Self(None),
        }
    }

    fn new(name: &'static str, kind: SpanKind, parent: &Context) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let span = tracer
            .span_builder(name)
            .with_kind(kind)
            .start_with_context(tracer, parent);
        let context = parent.with_span(span);
        let sampled = context.span().span_context().is_sampled();
        Self(sampled.then_some(context))
    }

    /// The one that the task works in.
    pub fn current() -> Self {
        Context::map_current(|context| Self(context.span().span_context().is_sampled().then(|| context.clone())))
    }

    pub fn is_sampled(&self) -> bool {
        self.0.is_some()
    }

    pub fn text(&self, key: &'static str, value: &str) {
        self.set(key, || value.to_owned().into());
    }

    pub fn number(&self, key: &'static str, value: usize) {
        self.set(key, || i64::try_from(value).unwrap_or(i64::MAX).into());
    }

    fn set(&self, key: &'static str, value: impl FnOnce() -> Value) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, value()));
        }
    }

    /// `code` is an error's of the wire.
    pub fn failed(&self, code: &'static str) {
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(code));
        }
    }

    /// Where it is done before the scope is.
    pub fn end(self) {}

    /// Runs `work` with this as the current span.
    pub fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        match self.0.clone() {
            Some(context) => Either::Left(work.with_context(context)),
            None => Either::Right(work),
        }
    }

    /// As other processes are told of it (W3C Trace Context).
    pub fn traceparent(&self) -> Option<String> {
        let mut carrier = HashMap::new();
        TraceContextPropagator::new().inject_context(self.0.as_ref()?, &mut carrier);
        carrier.remove(PARENT)
    }
}

#[cfg(test)]
mod tests;
