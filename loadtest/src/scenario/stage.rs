//! What a scenario runs on: servers, clients and senders that it gives orders to, and the report that comes of it.

use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use tokio::time::timeout;

use super::{
    progress::bar,
    tally::{self, Marks},
};
use crate::{
    clock,
    drive::{
        crew::Crew,
        plan::{Grouping, Plan, Settled},
        probe::probe,
        sender::Senders,
    },
    measure::watch::Watch,
    options::Options,
    report::Run,
    stop::Stop,
    target::{Server, able::Wants},
};

mod steps;

/// After a stop the clients that were away are waited for so long.
const GATHERING: Duration = Duration::from_secs(10);

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
        let mut run = Run::begin(scenario, options.target.name(), options.reports.name.as_deref());
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
