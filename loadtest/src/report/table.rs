//! A run as text for a terminal.

use std::fmt::{self, Write};

use super::{Run, number};
use crate::measure::latency::Summary;

pub fn table(run: &Run) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, run);
    text
}

fn write(out: &mut String, run: &Run) -> fmt::Result {
    let Run {
        name,
        scenario,
        target,
        seconds,
        ..
    } = run;
    writeln!(out, "\n{name}: {scenario} on {target}, {} s", number::plain(*seconds))?;
    if !run.counts.is_empty() {
        writeln!(out)?;
        for (name, count) in &run.counts {
            writeln!(out, "  {:<44} {:>16}", words(name), number::count(*count))?;
        }
    }
    if !run.latencies.is_empty() {
        let head = ["latency", "count", "p50", "p90", "p99", "p99.9", "max"];
        writeln!(out, "\n  {}", row(head.map(str::to_owned)))?;
        for (name, summary) in &run.latencies {
            writeln!(out, "  {}", row(latency(name, summary)))?;
        }
    }
    if !run.figures.is_empty() {
        writeln!(out)?;
        for (name, figure) in &run.figures {
            writeln!(out, "  {:<44} {:>16}", words(name), number::figure(name, *figure))?;
        }
    }
    writeln!(out)?;
    if let Some(sign) = &run.stopped {
        writeln!(out, "  stopped by {sign}: this is what was measured until then")?;
    }
    if run.is_good() {
        return writeln!(out, "  good: nothing lost, doubled or out of order, no fault");
    }
    for fault in &run.faults {
        writeln!(out, "  FAULT: {fault}")?;
    }
    Ok(())
}

fn latency(name: &str, summary: &Summary) -> [String; 7] {
    let micros = |value: u64| number::micros(value as f64);
    [
        words(name),
        number::count(summary.count),
        micros(summary.p50),
        micros(summary.p90),
        micros(summary.p99),
        micros(summary.p999),
        micros(summary.max),
    ]
}

fn row([name, rest @ ..]: [String; 7]) -> String {
    let mut row = format!("{name:<18}");
    for cell in rest {
        // Right-aligned by characters: µ is one.
        let _ = write!(row, " {cell:>10}");
    }
    row
}

/// `cpu_us_per_delivery` → `cpu per delivery`: the unit stands with the number.
pub fn words(name: &str) -> String {
    let words = name
        .split('_')
        .filter(|word| !["us", "kib", "percent", "seconds"].contains(word));
    words.collect::<Vec<_>>().join(" ")
}
