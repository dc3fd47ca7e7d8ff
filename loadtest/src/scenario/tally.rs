//! Puts a report together from what workers, senders and processes have told.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use hdrhistogram::Histogram;

use crate::{
    clock,
    drive::{
        plan::{Settled, Tick, Totals},
        sender::Senders,
    },
    measure::{
        latency::{self, Summary},
        order::Faults,
        usage::Ended,
        watch::Sample,
    },
    report::{Brief, Point, Run},
};

/// When what began and ended.
pub struct Marks {
    pub begun: Sample,
    pub rested: Option<Sample>,
    pub sending: Option<Sample>,
    /// All that was sent was answered, on [`clock`].
    pub answered: Option<u64>,
    pub settled: Option<Sample>,
}

impl Marks {
    pub fn begin(begun: Sample) -> Self {
        Self {
            begun,
            rested: None,
            sending: None,
            answered: None,
            settled: None,
        }
    }

    pub fn since_start(&self) -> f64 {
        clock::now().saturating_sub(self.begun.at) as f64 / 1e9
    }
}

/// Messages: sent, answered, heard, lost. `through_faults`: what happened to senders' connections is no fault.
pub fn counts(run: &mut Run, senders: Option<&Senders>, settled: &[Settled], through_faults: bool) {
    let mut count = |name: &str, value: u64| run.counts.insert(name.to_owned(), value);
    let Some(senders) = senders else {
        return;
    };
    let stats = senders.stats();
    count("messages_sent", senders.sent().values().sum());
    count("messages_refused", stats.refused.load(Relaxed));
    count("messages_unanswered", senders.unanswered());
    let mut faults = Faults::default();
    let (mut expected, mut heard) = (0, 0);
    for part in settled {
        faults += part.faults;
        expected += part.expected;
        heard += part.heard;
    }
    count("deliveries_expected", expected);
    count("deliveries", heard);
    let kinds = [
        ("lost", faults.lost),
        ("delivered_twice", faults.twice),
        ("out_of_order", faults.out_of_order),
    ];
    for (name, value) in kinds {
        count(name, value);
    }
    count("seen_again_after_a_cursor", faults.repeated);
    let unanswered = senders.unanswered();
    let refused = stats.refused.load(Relaxed);
    for (name, value) in kinds
        .into_iter()
        .chain([("sent but refused", refused), ("sent but not answered", unanswered)])
    {
        if value > 0 {
            run.faults.push(format!("{value} messages {}", name.replace('_', " ")));
        }
    }
    run.faults
        .extend(settled.iter().flat_map(|part| part.examples.iter().cloned()).take(5));
    let board = senders.board().tick();
    if !through_faults {
        let theirs = board.totals.errors.iter().chain(&board.totals.closes);
        run.faults
            .extend(theirs.map(|(what, count)| format!("{what} ({count} times)")));
    }
    for (name, recorder) in [("answer", &stats.answer), ("send lag", &stats.lag)] {
        let histogram = recorder.take();
        if !histogram.is_empty() {
            run.latencies.insert(name.into(), Summary::whole(&histogram));
        }
    }
}

/// Connections: made, failed, closed. `through_faults`: only gaps are faults.
pub fn clients(run: &mut Run, ticks: &[(usize, Tick)], clients: usize, through_faults: bool) {
    let mut latest = BTreeMap::new();
    for (worker, tick) in ticks {
        latest.insert(*worker, tick);
    }
    let mut totals = Totals::default();
    for tick in latest.values() {
        totals.add(&tick.totals);
    }
    let closes = totals.closes.values().sum();
    let counts = [
        ("clients", clients as u64),
        ("connects", totals.connects),
        ("connects_failed", totals.failed_connects),
        ("connections_closed_by_the_server", closes),
        ("gaps_told", totals.gaps),
    ];
    run.counts.extend(counts.map(|(name, value)| (name.to_owned(), value)));
    if totals.gaps > 0 {
        run.faults.push(format!("{} gaps were told", totals.gaps));
    }
    if through_faults {
        return;
    }
    let told = [
        ("connects failed", totals.failed_connects),
        ("connections were closed by the server", closes),
    ];
    for (what, value) in told {
        if value > 0 {
            run.faults.push(format!("{value} {what}"));
        }
    }
    let kinds = totals.errors.iter().chain(&totals.closes);
    run.faults
        .extend(kinds.map(|(what, count)| format!("{what} ({count} times)")));
}

/// What the messages cost the servers.
pub fn costs(run: &mut Run, marks: &Marks, servers: usize) {
    let (Some(sending), Some(settled)) = (&marks.sending, &marks.settled) else {
        return;
    };
    let heard = run.counts.get("deliveries").copied().unwrap_or_default() as f64;
    let sent = run.counts.get("messages_sent").copied().unwrap_or_default() as f64;
    let seconds = settled.seconds_since(sending);
    let mut figures = vec![("deliveries_per_second".to_owned(), heard / seconds)];
    if let Some(answered) = marks.answered {
        let seconds = answered.saturating_sub(sending.at) as f64 / 1e9;
        figures.push(("messages_per_second".to_owned(), sent / seconds));
    }
    if servers > 0 && heard > 0.0 {
        let cpu = settled.servers_cpu_us(sending);
        figures.push(("cpu_us_per_delivery".to_owned(), cpu / heard));
        figures.push(("cpu_us_per_message".to_owned(), cpu / sent));
        figures.push(("cpu_while_sending_percent".to_owned(), cpu / 1e4 / seconds));
    }
    let own = |sample: &Sample| sample.readings.last().map_or(0, |reading| reading.cpu_us);
    let own = own(settled).saturating_sub(own(sending)) as f64;
    figures.push(("load_test_cpu_us_per_delivery".to_owned(), own / heard.max(1.0)));
    if servers > 1 {
        for (number, name) in run.processes.iter().enumerate().take(servers) {
            let cpu = settled.readings[number]
                .cpu_us
                .saturating_sub(sending.readings[number].cpu_us) as f64;
            figures.push((format!("cpu_us_per_message_{name}"), cpu / sent.max(1.0)));
        }
    }
    run.figures.extend(figures);
}

/// Servers that were not there to the end.
pub fn ended(run: &mut Run, ended: &[Ended], begun: u64, through_faults: bool) {
    for Ended { at, what } in ended {
        let second = at.saturating_sub(begun) as f64 / 1e9;
        run.moments.push((second, what.clone()));
        if !through_faults {
            run.faults.push(format!(
                "{what} {second:.1} s after the beginning; its CPU and memory are those until then"
            ));
        }
    }
}

/// Second by second, and the latencies of all of it.
pub fn series(run: &mut Run, ticks: &[(usize, Tick)], settled: &[Settled], samples: &[Sample], begun: u64) {
    let mut seconds: BTreeMap<u64, (Point, Histogram<u64>)> = BTreeMap::new();
    let mut all: BTreeMap<&str, Histogram<u64>> = BTreeMap::new();
    // Of two ticks of a worker in one second the later counts.
    let mut open: BTreeMap<(u64, usize), u64> = BTreeMap::new();
    let workers = settled.len();
    // The senders are a worker of their own, which tells all at the end.
    let senders = settled.last().map(|settled| (workers, &settled.rest));
    let ticks = ticks.iter().map(|(worker, tick)| (*worker, tick)).chain(senders);
    let first = begun / 1_000_000_000;
    for (worker, tick) in ticks {
        for (name, text) in [
            ("delivery", &tick.latency),
            ("catching up", &tick.caught_up),
            ("connect", &tick.connect),
        ] {
            if let Ok(histogram) = latency::from_text(text) {
                latency::add(all.entry(name).or_insert_with(latency::empty), &histogram);
            }
        }
        if worker == workers && worker > 0 {
            continue;
        }
        let (point, histogram) = seconds
            .entry(tick.second)
            .or_insert_with(|| (Point::default(), latency::empty()));
        point.second = tick.second.saturating_sub(first) as f64;
        point.delivered += tick.heard;
        point.bytes += tick.bytes;
        open.insert((tick.second, worker), tick.open);
        if let Ok(latency) = latency::from_text(&tick.latency) {
            latency::add(histogram, &latency);
        }
    }
    for ((second, _), open) in open {
        if let Some((point, _)) = seconds.get_mut(&second) {
            point.open += open;
        }
    }
    for (name, histogram) in all {
        run.latencies.insert(name.to_owned(), Summary::whole(&histogram));
    }
    let points = seconds.into_values().map(|(mut point, histogram)| {
        let at = |quantile| histogram.value_at_quantile(quantile);
        point.latency = (!histogram.is_empty()).then(|| Brief {
            p50: at(0.5),
            p99: at(0.99),
            max: histogram.max(),
        });
        point
    });
    run.series = points.collect();
    usage(run, samples, begun);
}

/// What was sent in each second. Both series tick once a second, at moments of their own.
pub fn sent(run: &mut Run, seconds: &[(u64, u64)], begun: u64) {
    for pair in seconds.windows(2) {
        let [(_, before), (at, now)] = [pair[0], pair[1]];
        let second = (at.saturating_sub(begun) as f64 / 1e9).floor();
        if let Some(point) = run.series.iter_mut().find(|point| point.second >= second) {
            point.sent += now - before;
        }
    }
}

/// CPU and memory beside each second: from the two samples around it.
pub fn usage(run: &mut Run, samples: &[Sample], begun: u64) {
    for point in &mut run.series {
        let at = begun + (point.second * 1e9) as u64;
        let Some(place) = samples.windows(2).find(|pair| pair[1].at >= at) else {
            continue;
        };
        let [before, after] = [&place[0], &place[1]];
        let seconds = after.seconds_since(before);
        let pairs = after.readings.iter().zip(&before.readings);
        let share = |cpu: u64| (cpu as f64 / 1e4 / seconds * 10.0).round() / 10.0;
        point.cpu = pairs
            .map(|(now, then)| share(now.cpu_us.saturating_sub(then.cpu_us)))
            .collect();
        point.rss = after.readings.iter().map(|reading| reading.rss).collect();
    }
}
