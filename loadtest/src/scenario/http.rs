//! HTTP short connections: visitors log in, send some messages, refresh, and log out, each at its intended time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Args;
use herald_proto::msg_id::string_hash;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::{
    log::{KINDS, Log},
    visit::Visit,
};
use super::{progress::bar, stage::begin};
use crate::{
    clock,
    measure::{latency::Summary, watch::Watch},
    options::Options,
    report::Run,
    wire::http::Http,
};

mod log;
mod visit;

/// What is sent unless told otherwise: `--dev` routes it to a service that answers with what it got.
const MESSAGE: &str = "cmsg.CReqMyData";
/// Visitors under way at once.
const UNDER_WAY: usize = 2_000;

#[derive(Debug, Args)]
pub struct HttpArgs {
    #[command(flatten)]
    pub options: Options,
    /// Visitors a second
    #[arg(long, default_value_t = 20.0, help_heading = "Load")]
    pub rate: f64,
    /// Messages of each
    #[arg(long, default_value_t = 5, help_heading = "Load")]
    pub messages: u32,
    /// Protobuf name of what they send
    #[arg(long, default_value = MESSAGE, help_heading = "Load")]
    pub message: String,
    /// How long visitors come
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s", help_heading = "Load")]
    pub duration: Duration,
}

pub async fn run(args: &HttpArgs) -> Result<Run> {
    let options = &args.options;
    let mut run = begin("http", options);
    run.parameters = parameters(args);
    let watch = Watch::start(options.processes_watched().await?, vec![std::process::id()]);
    run.processes.clone_from(&watch.names);
    let before = watch.read().await?;
    let log = Arc::new(Log::default());
    let ticking = tokio::spawn(log::tick(Arc::clone(&log)));
    let visitors = visit_all(args, &log).await?;
    let after = watch.read().await?;
    ticking.abort();
    log.close_second();

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
    super::tally::usage(&mut run, &watch.samples(), before.at);
    let errors = log.errors();
    run.counts.insert("requests_failed".into(), errors.values().sum());
    run.faults
        .extend(errors.iter().map(|(what, count)| format!("{what} ({count} times)")));
    let wanted = visitors * u64::from(args.messages + 3);
    if requests < wanted {
        run.faults.push(format!(
            "{} of {wanted} requests were not answered as they should be",
            wanted - requests
        ));
    }
    Ok(run)
}

fn parameters(args: &HttpArgs) -> BTreeMap<String, String> {
    let parameters = [
        ("rate", args.rate.to_string()),
        ("messages", args.messages.to_string()),
        ("message", args.message.clone()),
        ("size", args.options.size.to_string()),
        ("duration", humantime::format_duration(args.duration).to_string()),
    ];
    parameters.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Lets visitors come at their times, and waits for the last. How many there were.
async fn visit_all(args: &HttpArgs, log: &Arc<Log>) -> Result<u64> {
    let options = &args.options;
    let server = options.server().await?;
    let total = (args.rate * args.duration.as_secs_f64()).round().max(1.0) as usize;
    let bar = bar(options.quiet);
    bar.set_length(total as u64);
    bar.set_message("visitors");
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut visits = JoinSet::new();
    let start = Instant::now();
    let started = clock::now();
    for number in 0..total {
        let after = Duration::from_secs_f64(number as f64 / args.rate);
        sleep_until(start + after).await;
        let due = started + u64::try_from(after.as_nanos())?;
        let place = Arc::clone(&room).acquire_owned().await?;
        let visit = Visit {
            http: Http::new(server.address(number).clone(), options.sources.unwrap_or(4), number),
            log: Arc::clone(log),
            account: format!("lt{}-v{number}", server.run),
            message: string_hash(&args.message),
            size: options.size,
        };
        let (messages, bar) = (args.messages, bar.clone());
        visits.spawn(async move {
            visit.make(due, messages).await;
            bar.inc(1);
            drop(place);
        });
        while visits.try_join_next().is_some() {}
    }
    while visits.join_next().await.is_some() {}
    bar.finish_and_clear();
    Ok(total as u64)
}
