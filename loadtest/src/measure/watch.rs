//! Looks at the processes once a second, and whenever it is asked.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::usage::{Ended, Process, Reading};
use crate::clock;

#[derive(Debug, Clone)]
pub struct Sample {
    /// On [`clock`].
    pub at: u64,
    /// In the order of [`Watch::names`].
    pub readings: Vec<Reading>,
}

pub struct Watch {
    pub names: Vec<String>,
    processes: Arc<tokio::sync::Mutex<Vec<Process>>>,
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// The servers, and the load test's own processes as the last.
    pub fn start(mut servers: Vec<Process>, own: &[u32]) -> Self {
        servers.push(Process::of_ids("load test", own));
        let names = servers.iter().map(|process| process.name.clone()).collect();
        let processes = Arc::new(tokio::sync::Mutex::new(servers));
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let task = tokio::spawn(sampling(Arc::clone(&processes), Arc::clone(&samples)));
        Self {
            names,
            processes,
            samples,
            task,
        }
    }

    /// All of them now.
    pub async fn read(&self) -> Sample {
        read(&self.processes).await
    }

    /// The servers that are not there any more.
    pub async fn ended(&self) -> Vec<Ended> {
        let processes = self.processes.lock().await;
        processes[..self.servers()].iter().flat_map(Process::ended).collect()
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().clone()
    }

    pub fn servers(&self) -> usize {
        self.names.len() - 1
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn sampling(processes: Arc<tokio::sync::Mutex<Vec<Process>>>, samples: Arc<Mutex<Vec<Sample>>>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let sample = read(&processes).await;
        samples.lock().push(sample);
    }
}

async fn read(processes: &tokio::sync::Mutex<Vec<Process>>) -> Sample {
    let mut readings = Vec::new();
    for process in &mut *processes.lock().await {
        readings.push(process.read().await);
    }
    Sample {
        at: clock::now(),
        readings,
    }
}

impl Sample {
    /// CPU time of the servers together since an earlier sample.
    pub fn servers_cpu_us(&self, earlier: &Self) -> f64 {
        let servers = self.readings.len() - 1;
        let pairs = self.readings.iter().zip(&earlier.readings).take(servers);
        pairs
            .map(|(now, then)| now.cpu_us.saturating_sub(then.cpu_us) as f64)
            .sum()
    }

    pub fn servers_rss(&self) -> u64 {
        let servers = self.readings.len() - 1;
        self.readings[..servers].iter().map(|reading| reading.rss).sum()
    }

    pub fn seconds_since(&self, earlier: &Self) -> f64 {
        self.at.saturating_sub(earlier.at) as f64 / 1e9
    }
}
