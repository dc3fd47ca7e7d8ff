//! The time from some moment between two sweeps to such a moment later, and what was used meanwhile.
//!
//! Both ends lie well apart from any sweep and from any reading of memberships, which gateways do every half minute; so
//! a window holds each of them whole or not at all, and what a sweep leaves to be done after it, as collecting garbage.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::PROCESSES;
use crate::{
    cluster::Cluster,
    metrics::Metrics,
    monitor::{Counter, Monitor},
    usage::Usage,
};

/// A look at the metrics costs the gateway something, too.
const LOOK: Duration = Duration::from_millis(200);
/// The next sweep begins 5 seconds after the end of the last: no look is needed for so long …
const APART: Duration = Duration::from_millis(2_500);
/// … when a window ends this long after a sweep.
const AFTER: Duration = Duration::from_millis(1_500);
/// No question about memberships for this long: they are not being read.
const STILL: Duration = Duration::from_millis(500);

/// Counts what gateway, NATS and router of a cluster do.
pub(super) struct Observer {
    processes: [u32; PROCESSES.len()],
    gateway: std::net::SocketAddr,
    /// Questions of the gateway about memberships.
    questions: Counter,
}

/// One look.
pub(super) struct Look {
    at: Instant,
    sweeps: u32,
    sweep_seconds: f64,
    questions: u64,
    usages: [Usage; PROCESSES.len()],
}

/// What happened between two looks, or in the sum of several such times.
#[derive(Debug, Default)]
pub struct Window {
    pub length: Duration,
    pub sweeps: u32,
    /// How long the sweeps took.
    pub sweeping: Duration,
    /// Memberships were read in it.
    pub reading: bool,
    pub cpu: [Duration; PROCESSES.len()],
}

impl Observer {
    pub async fn of(cluster: &Cluster) -> Self {
        let gateway = &cluster.gateways[0];
        let monitor = Monitor::of(&cluster.nats.url()).await;
        Self {
            processes: [gateway.id(), cluster.nats.id(), cluster.routers[0].id()],
            gateway: gateway.admin(),
            questions: monitor.count("herald-dev.cmd.connect").await,
        }
    }

    pub async fn targets(&self) -> usize {
        Metrics::of(self.gateway).await.get("herald_gateway_targets") as usize
    }

    pub fn usages(&self) -> [Usage; PROCESSES.len()] {
        self.processes.map(Usage::of)
    }

    async fn sweeps(&self) -> f64 {
        Metrics::of(self.gateway).await.get("herald_gateway_sweeps_total")
    }

    /// Waits for the next sweep, and until nothing happens; then looks.
    pub async fn after_a_sweep(&self) -> Look {
        let before = self.sweeps().await;
        sleep(APART).await;
        while self.sweeps().await <= before {
            sleep(LOOK).await;
        }
        sleep(AFTER - STILL).await;
        loop {
            let questions = self.questions.get();
            sleep(STILL).await;
            if self.questions.get() == questions {
                return self.look().await;
            }
        }
    }

    async fn look(&self) -> Look {
        let metrics = Metrics::of(self.gateway).await;
        Look {
            at: Instant::now(),
            sweeps: metrics.get("herald_gateway_sweeps_total") as u32,
            sweep_seconds: metrics.get("herald_gateway_sweep_seconds_sum"),
            questions: self.questions.get(),
            usages: self.usages(),
        }
    }
}

impl Look {
    pub fn since(&self, before: &Self) -> Window {
        let cpu = std::array::from_fn(|i| self.usages[i].cpu - before.usages[i].cpu);
        Window {
            length: self.at - before.at,
            sweeps: self.sweeps - before.sweeps,
            sweeping: Duration::from_secs_f64(self.sweep_seconds - before.sweep_seconds),
            reading: self.questions > before.questions,
            cpu,
        }
    }
}

impl Window {
    pub fn add(&mut self, other: &Self) {
        self.length += other.length;
        self.sweeps += other.sweeps;
        self.sweeping += other.sweeping;
        self.reading |= other.reading;
        for (sum, cpu) in self.cpu.iter_mut().zip(other.cpu) {
            *sum += cpu;
        }
    }

    /// How many targets were asked about, each as often as it was.
    pub(super) fn swept(&self, targets: usize) -> f64 {
        f64::from(self.sweeps) * targets as f64
    }

    pub fn mean_sweep(&self) -> Duration {
        self.sweeping / self.sweeps.max(1)
    }
}
