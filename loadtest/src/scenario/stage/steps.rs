//! The steps that scenarios are made of. Each leaves its figures behind.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use super::Stage;
use crate::{
    clock,
    drive::{crew::Crew, pacer::Due, plan::Order, sender::Senders},
    measure::watch::Sample,
    scenario::progress::glance,
};

/// Groups that a sender is a member of: its token names them, and a token has 4 KiB.
const GROUPS_PER_SENDER: u32 = 50;

impl Stage<'_> {
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
}
