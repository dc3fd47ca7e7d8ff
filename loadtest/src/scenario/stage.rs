//! The steps that scenarios are made of. Each leaves its figures behind.

use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep, timeout};

use super::{
    progress::{bar, glance},
    tally::{self, Marks},
};
use crate::{
    clock,
    drive::{
        crew::Crew,
        pacer::Due,
        plan::{Grouping, Order, Plan, Settled},
        probe::probe,
        sender::Senders,
    },
    measure::{
        machine::Machine,
        watch::{Sample, Watch},
    },
    options::{Options, common::Reports},
    report::Run,
    stop::Stop,
    target::{Server, able::Wants},
};

/// After a stop the clients that were away are waited for so long.
const GATHERING: Duration = Duration::from_secs(10);
/// Groups that a sender is a member of: its token names them, and a token has 4 KiB.
const GROUPS_PER_SENDER: u32 = 50;

pub struct Stage<'a> {
    options: &'a Options,
    pub server: Server,
    crew: Crew,
    senders: Option<Senders>,
    watch: Watch,
    bar: ProgressBar,
    pub clients: usize,
    settled: Vec<Settled>,
    marks: Marks,
    stop: Stop,
    pub run: Run,
}

/// Whom a scenario is for, and what it asks of a target.
pub struct Cast {
    pub scenario: &'static str,
    pub clients: usize,
    pub groups: Grouping,
    pub wants: Wants,
}

impl<'a> Stage<'a> {
    /// What is wrong here is wrong with the command line, or nobody is there: then there is no run.
    pub async fn open(cast: Cast, options: &'a Options, stop: &Stop) -> Result<Self> {
        options.check(cast.wants)?;
        let server = options.server().await?;
        let watched = options.watched.processes().await?;
        tokio::select! {
            probed = probe(&server, options.via()) => probed?,
            _ = stop.requested() => bail!("stopped before it began"),
        }
        let Cast {
            scenario,
            clients,
            groups,
            ..
        } = cast;
        let plan = Plan {
            server: server.clone(),
            first: 0,
            step: 1,
            clients,
            groups,
            sources: options.sources_for(clients),
            dial: options.dial,
        };
        let mut run = begin(scenario, options.target.name(), &options.reports);
        run.parameters.insert("clients".into(), clients.to_string());
        if groups.count > 0 {
            run.parameters.insert("groups".into(), groups.count.to_string());
        }
        let processes = options.processes_for(clients);
        run.parameters.insert("processes".into(), processes.to_string());
        let crew = Crew::start(&plan, processes).await?;
        let mut own = crew.children();
        own.push(std::process::id());
        let watch = Watch::start(watched, &own);
        run.processes.clone_from(&watch.names);
        let marks = Marks::begin(watch.read().await);
        Ok(Self {
            bar: bar(options.reports.quiet),
            options,
            server,
            crew,
            senders: None,
            watch,
            clients,
            settled: Vec::new(),
            marks,
            stop: stop.clone(),
            run,
        })
    }

    /// Plays the scenario. Whatever befalls it, there is a report: of a signal, of a fault that cuts it short.
    pub async fn play(mut self, scenario: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<Run> {
        let (stop, ended) = (self.stop.clone(), self.crew.ended());
        let played = tokio::select! {
            played = scenario(&mut self) => played,
            _ = stop.requested() => Ok(()),
            () = ended.cancelled() => Ok(()),
        };
        if let Err(error) = played {
            self.fault(format!("cut short: {error:#}"));
        }
        if let Some(fate) = self.crew.casualty().await {
            self.fault(fate);
        }
        if let Some(sign) = stop.by() {
            self.moment(sign.name());
            self.run.stopped = Some(sign.name().to_owned());
        }
        if self.senders.is_some()
            && self.marks.settled.is_none()
            && let Err(error) = self.settle_early().await
        {
            self.fault(format!("cut short: {error:#}"));
        }
        self.finish().await
    }

    /// The scenario did not come to its end: nothing more is sent, and what was is looked for.
    async fn settle_early(&mut self) -> Result<()> {
        if let Some(senders) = &self.senders {
            senders.stop().await;
            self.marks.answered = Some(clock::now());
        }
        if self.stop.by().is_some() {
            self.gather().await;
        }
        self.settle().await
    }

    /// All come back for what they have missed, if they can.
    async fn gather(&mut self) {
        let back = async {
            self.calm().await?;
            self.population(self.clients, None).await
        };
        match timeout(GATHERING, back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fault(format!("{error:#}")),
            Err(_) => self.fault("not all clients came back after the stop".to_owned()),
        }
    }

    pub fn parameters(&mut self, more: impl IntoIterator<Item = (&'static str, String)>) {
        let more = more.into_iter().map(|(name, value)| (name.to_owned(), value));
        self.run.parameters.extend(more);
    }

    /// Connects all clients, and lets them come to rest.
    pub async fn ramp(&mut self) -> Result<()> {
        let before = self.watch.read().await;
        self.moment("connect");
        self.population(self.clients, self.options.connect_rate).await?;
        let connected = self.watch.read().await;
        self.wait("coming to rest", self.options.settle).await;
        let rested = self.watch.read().await;
        let clients = self.clients as f64;
        let seconds = connected.seconds_since(&before);
        self.figure("connects_per_second", clients / seconds);
        if self.watch.servers() > 0 {
            self.figure("cpu_us_per_connect", rested.servers_cpu_us(&before) / clients);
            let grown = rested.servers_rss() as f64 - before.servers_rss() as f64;
            self.figure("rss_kib_per_connection", grown / 1024.0 / clients);
            if self.watch.servers() > 1 {
                for number in 0..self.watch.servers() {
                    let name = &self.watch.names[number];
                    let grown = rested.readings[number].rss as f64 - before.readings[number].rss as f64;
                    let name = format!("rss_kib_per_connection_{name}");
                    self.run.figures.insert(name, grown / 1024.0 / clients);
                }
            }
        }
        self.marks.rested = Some(rested);
        Ok(())
    }

    /// So many of the clients are there; others come or leave.
    pub async fn population(&mut self, clients: usize, rate: Option<f64>) -> Result<()> {
        let share = |number: usize, of: usize| (clients + of - 1 - number) / of;
        let share_of_rate = |of: usize| rate.map(|rate| rate / of as f64);
        let order = |number, of| Order::Population {
            clients: share(number, of),
            rate: share_of_rate(of),
        };
        let open = self.crew.open();
        let late = glance(&self.bar, "connecting", clients as u64, open, self.crew.order(order)).await?;
        self.late(late, "did not become ready");
        Ok(())
    }

    /// Clients that should be there and are not.
    pub fn late(&mut self, late: u64, what: &str) {
        if late > 0 {
            self.run.faults.push(format!("{late} clients {what}"));
        }
    }

    /// Nobody leaves any more, and all come back.
    pub async fn calm(&mut self) -> Result<()> {
        let late = self.crew.order(|_, _| Order::Calm).await?;
        self.late(late, "did not come back");
        Ok(())
    }

    /// Nothing but time, with the clients there.
    pub async fn rest(&mut self, duration: Duration) -> Result<()> {
        let before = self.watch.read().await;
        self.moment("rest");
        self.wait("at rest", duration).await;
        let after = self.watch.read().await;
        if self.watch.servers() > 0 {
            let share = after.servers_cpu_us(&before) / 1e6 / after.seconds_since(&before);
            self.figure("cpu_at_rest_percent", 100.0 * share);
        }
        Ok(())
    }

    async fn wait(&self, what: &str, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let begun = Instant::now();
        let elapsed = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        glance(&self.bar, what, milliseconds, elapsed, sleep(duration)).await;
    }

    /// Connects `senders`, each a member of its share of the groups.
    pub async fn senders(&mut self, senders: usize, groups: u32) -> Result<()> {
        let needed = groups.div_ceil(GROUPS_PER_SENDER) as usize;
        let senders = self.options.senders.unwrap_or(senders).max(needed).max(1);
        let shares = (0..senders).map(|sender| {
            let sender = u32::try_from(sender).unwrap_or(u32::MAX);
            (sender..groups).step_by(senders).collect()
        });
        let via = self.options.via();
        self.parameters([
            ("senders", senders.to_string()),
            ("via", via.name().to_owned()),
            ("size", self.options.size.to_string()),
            ("durable", self.server.durable.to_string()),
        ]);
        let senders = Senders::start(&self.server, via, shares.collect(), self.options.size, 1).await?;
        self.senders = Some(senders);
        Ok(())
    }

    /// Sends by the schedule while `meanwhile` goes on with the clients.
    pub async fn send_while<T>(
        &mut self,
        schedule: impl Iterator<Item = Due> + Send + 'static,
        duration: Duration,
        meanwhile: impl AsyncFnOnce(&mut Crew) -> Result<T>,
    ) -> Result<T> {
        let Some(senders) = &self.senders else {
            bail!("nobody is there to send");
        };
        let before = self.watch.read().await;
        self.marks.sending.get_or_insert(before);
        self.run.moments.push((self.marks.since_start(), "send".into()));
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let begun = Instant::now();
        let elapsed = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let both = async { tokio::try_join!(senders.send(schedule), meanwhile(&mut self.crew)) };
        let ((), result) = glance(&self.bar, "sending", milliseconds, elapsed, both).await?;
        self.marks.answered = Some(clock::now());
        Ok(result)
    }

    pub async fn send(
        &mut self,
        schedule: impl Iterator<Item = Due> + Send + 'static,
        duration: Duration,
    ) -> Result<()> {
        self.send_while(schedule, duration, async |_| Ok(())).await
    }

    /// All are cut off at once and come back; how long it took until the last was ready.
    pub async fn storm(crew: &mut Crew, jitter: Duration) -> Result<(u64, f64)> {
        let begun = Instant::now();
        let jitter_ms = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
        let late = crew.order(|_, _| Order::Storm { jitter_ms }).await?;
        Ok((late, begun.elapsed().as_secs_f64()))
    }

    pub async fn read(&self) -> Sample {
        self.watch.read().await
    }

    pub fn crew(&mut self) -> &mut Crew {
        &mut self.crew
    }

    /// Waits for what is under way, and checks that everybody has everything, once and in order.
    pub async fn settle(&mut self) -> Result<()> {
        let Some(senders) = &self.senders else {
            return Ok(());
        };
        self.bar.set_message("waiting for what is under way");
        let quiet_ms = u64::try_from(self.options.patience.as_millis()).unwrap_or(u64::MAX);
        let sent = senders.sent();
        let order = Order::Settle {
            sent: sent.clone(),
            quiet_ms,
        };
        let mut settled = self.crew.settle(order).await?;
        settled.push(senders.settle(&sent, self.options.patience).await);
        self.marks.settled = Some(self.watch.read().await);
        self.settled = settled;
        Ok(())
    }

    pub fn figure(&mut self, name: &str, value: f64) {
        self.run.figures.insert(name.to_owned(), value);
    }

    pub fn fault(&mut self, what: String) {
        self.run.faults.push(what);
    }

    pub fn moment(&mut self, what: &str) {
        self.run.moments.push((self.marks.since_start(), what.to_owned()));
    }

    /// Ends it all and puts the report together.
    async fn finish(mut self) -> Result<Run> {
        self.bar.set_message("closing");
        let samples = self.watch.samples();
        let ticks = std::mem::take(&mut *self.crew.ticks.lock());
        let (begun, faults) = (self.marks.begun.at, self.options.through_faults);
        tally::counts(&mut self.run, self.senders.as_ref(), &self.settled, faults);
        tally::clients(&mut self.run, &ticks, self.clients, faults);
        tally::costs(&mut self.run, &self.marks, self.watch.servers());
        tally::ended(&mut self.run, &self.watch.ended().await, begun, faults);
        let sent = self
            .senders
            .as_ref()
            .map(|senders| senders.stats().seconds.lock().clone());
        tally::series(&mut self.run, &ticks, &self.settled, &samples, begun);
        tally::sent(&mut self.run, &sent.unwrap_or_default(), begun);
        if let Err(error) = self.crew.end().await {
            self.run.faults.push(format!("{error:#}"));
        }
        self.run.seconds = self.marks.since_start();
        self.bar.finish_and_clear();
        Ok(self.run)
    }
}

/// A report's beginning.
pub fn begin(scenario: &str, target: &str, reports: &Reports) -> Run {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Run {
        version: format!("herald-loadtest {}", env!("CARGO_PKG_VERSION")),
        name: reports.name.clone().unwrap_or_else(|| scenario.to_owned()),
        scenario: scenario.to_owned(),
        target: target.to_owned(),
        started: since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
        machine: Machine::this(),
        ..Run::default()
    }
}
