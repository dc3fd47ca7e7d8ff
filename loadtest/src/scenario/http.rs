//! HTTP short connections: visitors log in, send some messages, refresh, and log out, each at its intended time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Args;
use herald_proto::msg_id::string_hash;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use self::{
    log::{KINDS, Log},
    visit::Visit,
};
use super::{Pace, progress::bar, tally};
use crate::{
    bounds, clock,
    drive::probe::reach,
    measure::{latency::Summary, watch::Watch},
    options::common::{Reports, Watched},
    report::Run,
    stop::Stop,
    wire::{Address, http::Http},
};

mod log;
mod visit;

/// What is sent unless told otherwise: `--dev` routes it to a service that answers with what it got.
const MESSAGE: &str = "cmsg.CReqMyData";
/// After a stop those who are under way have so long.
const ENDING: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct HttpArgs {
    /// Where visitors come; repeat it for several gateways, which are taken in turn
    #[arg(
        long,
        value_name = "http://HOST:PORT",
        default_value = "http://127.0.0.1:8002",
        help_heading = "Server"
    )]
    pub url: Vec<String>,
    #[command(flatten)]
    pub watched: Watched,
    /// Visitors a second
    #[arg(long, value_parser = bounds::VISITOR_RATE.number(), default_value = "20", value_name = "PER SECOND", help_heading = "Load")]
    pub rate: f64,
    /// Visitors under way at once, at most; those that are due then wait, and their login counts from when it was due
    #[arg(long, value_parser = bounds::CLIENTS.whole::<usize>(), default_value = "2000", help_heading = "Load")]
    pub clients: usize,
    /// Messages of each
    #[arg(long, value_parser = bounds::MESSAGES_OR_NONE.whole::<u32>(), default_value = "5", help_heading = "Load")]
    pub messages: u32,
    /// Protobuf name of what they send
    #[arg(long, default_value = MESSAGE, help_heading = "Load")]
    pub message: String,
    /// Bytes of a message
    #[arg(long, value_parser = bounds::SIZE.whole::<usize>(), value_name = "BYTES", default_value = "64", help_heading = "Load")]
    pub size: usize,
    /// How long visitors come, with its unit: 90s, 5m, 2h
    #[arg(long, value_parser = bounds::DURATION.time(), value_name = "TIME", default_value = "10s", help_heading = "Load")]
    pub duration: Duration,
    /// Source addresses, 127.0.0.1 and those after it, towards a server on loopback
    #[arg(long, value_parser = bounds::SOURCES.whole::<u32>(), default_value = "4", help_heading = "Load")]
    pub sources: u32,
    #[command(flatten)]
    pub reports: Reports,
}

pub async fn run(args: &HttpArgs, stop: &Stop) -> Result<Run> {
    Pace::steady(args.rate, args.duration).check()?;
    let addresses = addresses(args).await?;
    let watched = args.watched.processes().await?;
    for address in &addresses {
        reach(address).await?;
    }
    let mut run = Run::begin("http", "herald", args.reports.name.as_deref());
    run.parameters = parameters(args);
    let watch = Watch::start(watched, &[std::process::id()]);
    run.processes.clone_from(&watch.names);
    let before = watch.read().await;
    let log = Arc::new(Log::default());
    let ticking = tokio::spawn(log::tick(Arc::clone(&log)));
    let visitors = visit_all(args, &addresses, &log, stop).await?;
    let after = watch.read().await;
    ticking.abort();
    log.close_second();
    run.stopped = stop.by().map(|sign| sign.name().to_owned());

    let requests = log.requests();
    run.seconds = after.seconds_since(&before);
    run.counts.insert("visitors".into(), visitors);
    run.counts.insert("requests".into(), requests);
    run.figures
        .insert("requests_per_second".into(), requests as f64 / run.seconds);
    if watch.servers() > 0 {
        let cpu = after.servers_cpu_us(&before) / requests.max(1) as f64;
        run.figures.insert("cpu_us_per_request".into(), cpu);
    }
    for (kind, histogram) in KINDS.iter().zip(log.histograms()) {
        run.latencies.insert((*kind).to_owned(), Summary::whole(&histogram));
    }
    run.series = log.series(before.at);
    tally::usage(&mut run, &watch.samples(), before.at);
    tally::ended(&mut run, &watch.ended().await, before.at, false);
    faults(&mut run, &log, visitors * u64::from(args.messages + 3));
    Ok(run)
}

/// `wanted`: requests of all visitors.
fn faults(run: &mut Run, log: &Log, wanted: u64) {
    let (requests, errors) = (log.requests(), log.errors());
    run.counts.insert("requests_failed".into(), errors.values().sum());
    run.faults
        .extend(errors.iter().map(|(what, count)| format!("{what} ({count} times)")));
    if requests < wanted {
        run.faults.push(format!(
            "{} of {wanted} requests were not answered as they should be",
            wanted - requests
        ));
    }
}

async fn addresses(args: &HttpArgs) -> Result<Vec<Address>> {
    let mut addresses = Vec::new();
    for url in &args.url {
        addresses.push(Address::resolve(url).await?);
    }
    Ok(addresses)
}

fn parameters(args: &HttpArgs) -> BTreeMap<String, String> {
    let parameters = [
        ("rate", args.rate.to_string()),
        ("clients", args.clients.to_string()),
        ("messages", args.messages.to_string()),
        ("message", args.message.clone()),
        ("size", args.size.to_string()),
        ("duration", humantime::format_duration(args.duration).to_string()),
    ];
    parameters.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Lets visitors come at their times until all have come, or it is stopped, and waits for the last. How many there were.
async fn visit_all(args: &HttpArgs, addresses: &[Address], log: &Arc<Log>, stop: &Stop) -> Result<u64> {
    let total = (args.rate * args.duration.as_secs_f64()).round() as usize;
    let bar = bar(args.reports.quiet);
    bar.set_length(total as u64);
    bar.set_message("visitors");
    let room = Arc::new(Semaphore::new(args.clients));
    let mut visits = JoinSet::new();
    let (start, started, run) = (Instant::now(), clock::now(), rand::random_range(1..1_000_000));
    let mut visitors = 0;
    for number in 0..total {
        let after = Duration::from_secs_f64(number as f64 / args.rate);
        let turn = async {
            sleep_until(start + after).await;
            Arc::clone(&room).acquire_owned().await
        };
        let place = tokio::select! {
            place = turn => place?,
            _ = stop.requested() => break,
        };
        visitors += 1;
        let due = started + u64::try_from(after.as_nanos())?;
        let visit = Visit {
            http: Http::new(addresses[number % addresses.len()].clone(), args.sources, number),
            log: Arc::clone(log),
            account: format!("lt{run}-v{number}"),
            message: string_hash(&args.message),
            size: args.size,
        };
        let (messages, bar) = (args.messages, bar.clone());
        visits.spawn(async move {
            visit.make(due, messages).await;
            bar.inc(1);
            drop(place);
        });
        while visits.try_join_next().is_some() {}
    }
    let last = async { while visits.join_next().await.is_some() {} };
    let given_up = async {
        stop.requested().await;
        sleep(ENDING).await;
    };
    tokio::select! {
        () = last => {}
        () = given_up => {}
    }
    bar.finish_and_clear();
    Ok(visitors)
}
