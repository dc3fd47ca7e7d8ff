//! What the days came to: levels with their slopes, and what was wrong.

use std::fmt;

use super::Levels;
use crate::loadtest::Report;

/// Of memory: what an allocator may keep, in parts of what there was, and in MiB.
const MEMORY: (f64, f64) = (0.1, 8.0);
/// Of all that is counted.
const COUNTED: (f64, f64) = (0.02, 4.0);

#[derive(Debug, Default)]
pub struct Outcome {
    pub(super) levels: Vec<Levels>,
    pub messages: u64,
    pub deliveries: u64,
    /// Of the load test: losses and the like.
    pub faults: Vec<String>,
}

/// One level over the days: the first day warms up and does not count.
#[derive(Debug, PartialEq)]
pub struct Trend {
    pub name: String,
    pub first: f64,
    pub last: f64,
    /// By the straight line through all of them, from the first to the last.
    pub growth: f64,
    pub bar: f64,
}

impl Trend {
    fn of(name: &str, levels: &[f64]) -> Self {
        let first = levels.first().copied().unwrap_or_default();
        let (part, least) = if name.starts_with("memory") { MEMORY } else { COUNTED };
        Self {
            name: name.to_owned(),
            first,
            last: levels.last().copied().unwrap_or_default(),
            growth: slope(levels) * (levels.len().saturating_sub(1)) as f64,
            bar: (first * part).max(least),
        }
    }

    pub fn held(&self) -> bool {
        self.growth <= self.bar
    }
}

/// Of the straight line that lies nearest, for each step.
fn slope(levels: &[f64]) -> f64 {
    let count = levels.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, levels.iter().sum::<f64>() / count);
    let places = || (0..levels.len()).map(|place| place as f64 - middle);
    let square: f64 = places().map(|place| place * place).sum();
    if square == 0.0 {
        return 0.0;
    }
    places()
        .zip(levels)
        .map(|(place, level)| place * (level - mean))
        .sum::<f64>()
        / square
}

impl Outcome {
    pub(super) fn note(&mut self, report: &Report) {
        let count = |name: &str| report.json["counts"][name].as_u64().unwrap_or_default();
        self.messages += count("messages_sent");
        self.deliveries += count("deliveries");
        if report.code != 0 {
            let faults = report.json["faults"].as_array().into_iter().flatten();
            let mut faults: Vec<String> = faults.map(ToString::to_string).collect();
            if faults.is_empty() {
                faults.push(report.text.clone());
            }
            self.faults.append(&mut faults);
        }
    }

    pub fn trends(&self) -> Vec<Trend> {
        let counted = &self.levels[1.min(self.levels.len())..];
        let names = counted.first().into_iter().flat_map(|levels| levels.0.keys());
        let of = |name: &String| {
            let levels = counted
                .iter()
                .map(|levels| levels.0.get(name).copied().unwrap_or_default());
            Trend::of(name, &levels.collect::<Vec<_>>())
        };
        names.map(of).collect()
    }

    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.deliveries > 0 && self.trends().iter().all(Trend::held)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.levels.len();
        writeln!(
            f,
            "{days} days, {} messages, {} deliveries",
            self.messages, self.deliveries
        )?;
        writeln!(
            f,
            "{:40} {:>9} {:>9} {:>9} {:>9}",
            "after a day", "second", "last", "growth", "bar"
        )?;
        for trend in self.trends() {
            let Trend {
                name,
                first,
                last,
                growth,
                bar,
            } = &trend;
            let word = if trend.held() { "" } else { "   MISSED" };
            writeln!(f, "{name:40} {first:9.1} {last:9.1} {growth:9.1} {bar:9.1}{word}")?;
        }
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_through_noise_and_what_returns_is_none() {
        assert_eq!(Trend::of("tasks of x", &[100.0, 100.0, 100.0]).growth, 0.0);
        let grows = Trend::of("tasks of x", &[100.0, 112.0, 108.0, 120.0]);
        assert!((grows.growth - 16.8).abs() < 1e-9 && !grows.held(), "{grows:?}");
        let noise = Trend::of("tasks of x", &[100.0, 104.0, 104.0, 100.0]);
        assert!(noise.growth == 0.0 && noise.held());
        let memory = Trend::of("memory of x", &[100.0, 103.0, 106.0]);
        assert!(memory.held() && memory.bar == 10.0);
        assert_eq!(Trend::of("tasks of x", &[7.0]).growth, 0.0);
    }
}
