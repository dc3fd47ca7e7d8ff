use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use opentelemetry_http::HttpClient;
use tokio::net::TcpListener;
use tracing_subscriber::{Layer, layer, layer::SubscriberExt};

use super::*;

struct Lines(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        if event.metadata().target().starts_with("herald_router::telemetry") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// It takes connections and never answers.
#[tokio::test]
async fn a_collector_that_stands_still_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = TelemetrySettings {
        otlp_endpoint: Some(format!("http://{}/", listener.local_addr().unwrap())),
        otlp_sample: 1.0,
    };
    assert!(!Span::root("before").is_sampled());
    let export = start_tracing(&settings, "rt-1", ("herald-router", "0")).unwrap();
    let begun = Instant::now();
    for _ in 0..100_000 {
        let root = Span::root("command");
        assert!(root.is_sampled());
        // More than wait for the collector are dropped.
        root.within(async { Span::child("append") }).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let asked = timeout(DEADLINE * 4, listener.accept()).await;
    let _open = asked.expect("spans are posted").unwrap();
    let ending = Instant::now();
    export.end().await;
    assert!(
        ending.elapsed() < FLUSH * 2 + Duration::from_secs(1),
        "{:?}",
        ending.elapsed()
    );
}

#[tokio::test]
async fn a_collector_that_is_gone_is_told_of_once_a_minute() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let lines = Arc::new(AtomicUsize::new(0));
    let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(Lines(lines.clone())));
    let collector = Collector::new();
    for _ in 0..5 {
        let request = hyper::Request::post(format!("http://{gone}/v1/traces")).body(bytes::Bytes::new());
        collector.send_bytes(request.unwrap()).await.unwrap_err();
    }
    assert_eq!(lines.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_no_sampled_traceparent_begins_nothing() {
    let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0";
    for text in ["", "x", "00-0-0-01", &format!("{sampled}0")] {
        assert!(!Span::remote("handle", Some(text)).is_sampled(), "{text:?}");
    }
    assert!(!Span::remote("handle", None).is_sampled());
    assert!(Span::current().traceparent().is_none());
}
