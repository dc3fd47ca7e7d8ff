//! What a run has shown: as a table, as JSON, as a page with charts, and beside another run.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::measure::{latency::Summary, machine::Machine};

pub mod chart;
pub mod compare;
pub mod html;
pub mod number;
pub mod table;

/// All that is kept of a run: the JSON that `--out` writes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Run {
    /// Of the load test that wrote this.
    pub version: String,
    pub name: String,
    pub scenario: String,
    pub target: String,
    /// Unix milliseconds.
    pub started: u64,
    pub seconds: f64,
    pub parameters: BTreeMap<String, String>,
    pub machine: Machine,
    /// What was counted: clients, messages, losses.
    pub counts: BTreeMap<String, u64>,
    /// What was computed from it; the unit is the name's end.
    pub figures: BTreeMap<String, f64>,
    /// In microseconds.
    pub latencies: BTreeMap<String, Summary>,
    /// The processes of [`Point::cpu`] and [`Point::rss`]; the load test itself is the last.
    pub processes: Vec<String>,
    pub series: Vec<Point>,
    /// What happened when, in seconds since the start.
    pub moments: Vec<(f64, String)>,
    /// The signal that ended it before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What is not as it should be; none: the run is good.
    pub faults: Vec<String>,
}

/// A second of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Point {
    /// Since the start.
    pub second: f64,
    pub sent: u64,
    pub delivered: u64,
    pub bytes: u64,
    pub open: u64,
    /// Of the messages delivered in it, in microseconds; none: nothing was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Brief>,
    /// Percent of a core, and bytes.
    pub cpu: Vec<f64>,
    pub rss: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Brief {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Run {
    /// Of a run that begins now, on this machine.
    pub fn begin(scenario: &str, target: &str, name: Option<&str>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            version: format!("herald-loadtest {}", env!("CARGO_PKG_VERSION")),
            name: name.unwrap_or(scenario).to_owned(),
            scenario: scenario.to_owned(),
            target: target.to_owned(),
            started: since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
            machine: Machine::this(),
            ..Self::default()
        }
    }

    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}
