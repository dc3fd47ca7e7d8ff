//! Latencies in microseconds: HDR histograms that many tasks fill, and that travel between processes.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2Serializer},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Three digits, from a microsecond to ten minutes: what takes longer counts as that.
const HIGHEST: u64 = 600_000_000;
const DIGITS: u8 = 3;
/// Enough that tasks on a few threads seldom meet.
const SHARDS: usize = 8;

pub fn empty() -> Histogram<u64> {
    // The bounds are constants that the library accepts, as the tests prove.
    Histogram::new_with_bounds(1, HIGHEST, DIGITS).unwrap_or_else(|error| unreachable!("{error}"))
}

/// A histogram that tasks record into.
pub struct Recorder {
    shards: Vec<Mutex<Histogram<u64>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(empty())).collect(),
        }
    }
}

impl Recorder {
    pub fn record(&self, shard: usize, micros: u64) {
        self.shards[shard % SHARDS].lock().saturating_record(micros.max(1));
    }

    /// What was recorded since the last time.
    pub fn take(&self) -> Histogram<u64> {
        let mut all = empty();
        for shard in &self.shards {
            let mut shard = shard.lock();
            if !shard.is_empty() {
                // Same bounds, so nothing can be too large.
                let _ = all.add(&*shard);
                shard.reset();
            }
        }
        all
    }
}

pub fn add(sum: &mut Histogram<u64>, more: &Histogram<u64>) {
    // Same bounds, so nothing can be too large.
    let _ = sum.add(more);
}

/// A histogram as text, for reports and between processes.
pub fn to_text(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    match V2Serializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        // Writing to memory does not fail.
        Err(error) => unreachable!("{error}"),
    }
}

pub fn from_text(text: &str) -> Result<Histogram<u64>> {
    let bytes = STANDARD.decode(text).context("a histogram that is not base64")?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| anyhow::anyhow!("a histogram that cannot be read: {error}"))
}

/// What a histogram says, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    /// The curve: share of all (0 to 1) and the latency that it stays within.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<(f64, u64)>,
    /// The histogram itself (HdrHistogram V2, base64), so that runs can be merged later.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hdr: String,
}

impl Summary {
    /// The numbers alone.
    pub fn brief(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean: (histogram.mean() * 10.0).round() / 10.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            curve: Vec::new(),
            hdr: String::new(),
        }
    }

    /// With the curve and the histogram.
    pub fn whole(histogram: &Histogram<u64>) -> Self {
        let mut summary = Self::brief(histogram);
        if !histogram.is_empty() {
            summary.curve = curve(histogram);
            summary.hdr = to_text(histogram);
        }
        summary
    }
}

/// Five points for each halving of the distance to 1, down to one in a million.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    (0..=100)
        .map(|step| 1.0 - 0.5_f64.powf(f64::from(step) / 5.0))
        .map(|share| (share, histogram.value_at_quantile(share)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tasks_record_is_taken_once() {
        let recorder = Recorder::default();
        for shard in 0..20 {
            recorder.record(shard, 100);
        }
        assert_eq!(recorder.take().len(), 20);
        assert!(recorder.take().is_empty());
    }

    #[test]
    fn a_histogram_comes_back_from_its_text() {
        let mut histogram = empty();
        for micros in [1, 250, 99_000, 42_000_000] {
            histogram.saturating_record(micros);
        }
        let back = from_text(&to_text(&histogram)).expect("a histogram");
        assert_eq!(back, histogram);
        assert!(from_text("nonsense").is_err());
    }

    #[test]
    fn a_summary_names_the_percentiles() {
        let mut histogram = empty();
        for micros in 1..=1000 {
            histogram.saturating_record(micros);
        }
        let summary = Summary::whole(&histogram);
        assert_eq!(
            (summary.count, summary.p50, summary.p99, summary.max),
            (1000, 500, 990, 1000)
        );
        assert!(summary.curve.is_sorted_by(|a, b| a.1 <= b.1));
    }

    #[test]
    fn what_is_slower_than_the_highest_counts_as_the_highest() {
        let recorder = Recorder::default();
        recorder.record(0, u64::MAX);
        assert!(recorder.take().max() >= HIGHEST);
    }
}
