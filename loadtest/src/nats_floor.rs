//! What NATS itself gives on this machine: the yardstick of everything that goes over it. Run it beside the load, against
//! the same servers.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::{
    Client,
    jetstream::{self, stream},
};
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    bounds, clock,
    measure::latency::{Summary, empty},
    options::common::can_be_written,
    report::Run,
    scenario::Pace,
    stop::Stop,
};

/// Deleted at the end.
const STREAM: &str = "HERALD_LOADTEST";
const SUBJECT: &str = "herald-loadtest.append";
const SERVICE: &str = "herald-loadtest.echo";

/// A server that is there answers far sooner.
const CONNECTING: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct NatsFloor {
    /// Where NATS is
    #[arg(long, value_name = "nats://HOST:PORT", default_value = "nats://127.0.0.1:4222")]
    pub nats: String,
    /// Messages of each kind flat out
    #[arg(long, value_parser = bounds::MESSAGES.whole::<u64>(), default_value = "50000")]
    pub messages: u64,
    /// Under way at once
    #[arg(long, value_parser = bounds::WINDOW.whole::<usize>(), default_value = "256")]
    pub window: usize,
    /// Messages a second where latency is measured
    #[arg(long, value_parser = bounds::RATE.number(), default_value = "500")]
    pub rate: f64,
    /// How long latency is measured, of each kind
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "5s")]
    pub duration: Duration,
    /// Bytes of a message
    #[arg(long, value_parser = bounds::SIZE.whole::<usize>(), default_value = "256")]
    pub size: usize,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<std::path::PathBuf>,
}

pub async fn run(args: &NatsFloor, stop: &Stop) -> Result<Run> {
    Pace::steady(args.rate, args.duration).check()?;
    if let Some(out) = &args.out {
        can_be_written(out).with_context(|| format!("--out {}", out.display()))?;
    }
    let connect = async || {
        let connecting = timeout(CONNECTING, async_nats::connect(&args.nats)).await;
        let connected = connecting.map_err(anyhow::Error::from).and_then(|done| Ok(done?));
        connected.with_context(|| args.nats.clone())
    };
    let (client, other) = (connect().await?, connect().await?);
    let mut run = begin(args);
    let begun = Instant::now();
    let jetstream = jetstream::new(client.clone());
    let measured = tokio::select! {
        measured = measure(args, &client, &other, &mut run) => measured,
        _ = stop.requested() => Ok(()),
    };
    // Whatever came of it, nothing is left behind.
    let deleted = jetstream.delete_stream(STREAM).await;
    measured?;
    if stop.by().is_none() {
        deleted?;
    }
    run.seconds = begun.elapsed().as_secs_f64();
    run.stopped = stop.by().map(|sign| sign.name().to_owned());
    Ok(run)
}

fn begin(args: &NatsFloor) -> Run {
    let parameters = [
        ("messages", args.messages.to_string()),
        ("window", args.window.to_string()),
        ("rate", args.rate.to_string()),
        ("size", args.size.to_string()),
    ];
    Run {
        parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
        ..Run::begin("nats-floor", "nats", None)
    }
}

async fn measure(args: &NatsFloor, client: &Client, other: &Client, run: &mut Run) -> Result<()> {
    measure_appends(args, client, other, run).await?;
    measure_requests(args, client, other, run).await
}

async fn measure_appends(args: &NatsFloor, client: &Client, other: &Client, run: &mut Run) -> Result<()> {
    let body = Bytes::from(vec![b'x'; args.size]);
    let jetstream = jetstream::new(client.clone());
    let append = || {
        let (jetstream, body) = (jetstream.clone(), body.clone());
        async move {
            let ack = jetstream.publish(SUBJECT, body).await?.await?;
            anyhow::Ok(ack.sequence)
        }
    };
    let made = jetstream
        .create_stream(stream::Config {
            name: STREAM.into(),
            subjects: vec![SUBJECT.into()],
            max_messages: 100_000,
            republish: Some(stream::Republish {
                source: SUBJECT.into(),
                destination: "herald-loadtest.live".into(),
                headers_only: false,
            }),
            ..Default::default()
        })
        .await
        .context("a stream for the measurement");
    made?;
    let live = other.subscribe("herald-loadtest.live").await?;
    subscribed(other).await?;
    run.figures
        .insert("appends_per_second".into(), flat_out(args, &append).await?);
    let latency = live_latency(args, client, live).await?;
    run.latencies
        .insert("append to live copy".into(), Summary::whole(&latency));
    Ok(())
}

async fn measure_requests(args: &NatsFloor, client: &Client, other: &Client, run: &mut Run) -> Result<()> {
    let body = Bytes::from(vec![b'x'; args.size]);
    let mut service = other.queue_subscribe(SERVICE, "herald-loadtest".into()).await?;
    subscribed(other).await?;
    let answers = other.clone();
    let _answering = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(request) = service.next().await {
            if let Some(reply) = request.reply {
                // A request that cannot be answered fails where it is awaited.
                let _ = answers.publish(reply, request.payload).await;
            }
        }
    }));
    let ask = || {
        let (client, body) = (client.clone(), body.clone());
        async move {
            client.request(SERVICE, body).await?;
            anyhow::Ok(0)
        }
    };
    run.figures
        .insert("requests_per_second".into(), flat_out(args, &ask).await?);
    run.latencies
        .insert("request and reply".into(), Summary::whole(&at_rate(args, &ask).await?));
    Ok(())
}

/// The server takes what a client says in its order: once it has given something back, it knows of the subscriptions.
async fn subscribed(client: &Client) -> Result<()> {
    let inbox = client.new_inbox();
    let mut back = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, Bytes::new()).await?;
    back.next().await.context("the connection to NATS has ended")?;
    Ok(())
}

/// Operations a second, with `window` of them under way.
async fn flat_out<F: Future<Output = Result<u64>>>(args: &NatsFloor, operation: &impl Fn() -> F) -> Result<f64> {
    let begun = Instant::now();
    let mut all = futures_util::stream::iter(0..args.messages)
        .map(|_| operation())
        .buffer_unordered(args.window);
    while let Some(result) = all.next().await {
        result?;
    }
    Ok(args.messages as f64 / begun.elapsed().as_secs_f64())
}

/// Times at which something is due.
fn dues(args: &NatsFloor) -> impl Iterator<Item = u64> + use<> {
    let (start, rate) = (clock::now() + 1_000_000, args.rate);
    let total = (args.rate * args.duration.as_secs_f64()) as u64;
    (0..total).map(move |turn| start + (turn as f64 / rate * 1e9) as u64)
}

/// From a thread of its own, as the load test's own schedule does it.
fn pace(dues: impl Iterator<Item = u64> + Send + 'static) -> tokio::sync::mpsc::Receiver<u64> {
    let (due, when) = tokio::sync::mpsc::channel(1024);
    std::thread::spawn(move || {
        for at in dues {
            std::thread::sleep(Duration::from_nanos(at.saturating_sub(clock::now())));
            if due.blocking_send(at).is_err() {
                return;
            }
        }
    });
    when
}

async fn at_rate<F: Future<Output = Result<u64>>>(
    args: &NatsFloor,
    operation: &impl Fn() -> F,
) -> Result<Histogram<u64>> {
    let mut histogram = empty();
    let when = pace(dues(args));
    let all = futures_util::stream::unfold(when, async |mut when| Some((when.recv().await?, when)));
    let mut all = std::pin::pin!(
        all.map(async |due| {
            operation().await?;
            anyhow::Ok(clock::micros_since(due))
        })
        .buffer_unordered(args.window)
    );
    while let Some(micros) = all.next().await {
        histogram.saturating_record(micros?.max(1));
    }
    Ok(histogram)
}

/// From the time that a message was due to its republished copy.
async fn live_latency(args: &NatsFloor, client: &Client, mut live: async_nats::Subscriber) -> Result<Histogram<u64>> {
    let mut histogram = empty();
    // What the flat-out part has left behind.
    for _ in 0..args.messages {
        live.next().await.context("the live copies have ended")?;
    }
    let total = (args.rate * args.duration.as_secs_f64()) as u64;
    let mut when = pace(dues(args));
    let (client, size) = (client.clone(), args.size);
    let mut pending = VecDeque::new();
    let (mut open, mut heard) = (true, 0);
    while heard < total {
        tokio::select! {
            due = when.recv(), if open => match due {
                Some(due) => {
                    pending.push_back(due);
                    client.publish(SUBJECT, vec![b'x'; size].into()).await?;
                }
                None => open = false,
            },
            copy = live.next() => {
                copy.context("the live copies have ended")?;
                // One publisher, one stream: they come in their order.
                let due = pending.pop_front().context("a copy of nothing")?;
                histogram.saturating_record(clock::micros_since(due).max(1));
                heard += 1;
            }
        }
    }
    Ok(histogram)
}
