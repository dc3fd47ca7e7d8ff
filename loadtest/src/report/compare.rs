//! Two runs side by side, with ratios.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
};

use super::{Run, number, table::words};

/// Figures and percentiles of both, and second to first.
pub fn compare(first: &Run, second: &Run) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, first, second);
    text
}

fn write(out: &mut String, first: &Run, second: &Run) -> fmt::Result {
    let title = |run: &Run| format!("{} ({} on {})", run.name, run.scenario, run.target);
    writeln!(out, "A: {}\nB: {}\n", title(first), title(second))?;
    for (name, [a, b]) in differing(first, second) {
        writeln!(out, "  differs: {name} is {a} in A, {b} in B")?;
    }
    writeln!(out, "  {:<40} {:>14} {:>14} {:>8}", "", "A", "B", "B / A")?;
    for name in both(first.figures.keys(), second.figures.keys()) {
        let (a, b) = (first.figures[name], second.figures[name]);
        let show = |value| number::figure(name, value);
        writeln!(
            out,
            "  {:<40} {:>14} {:>14} {:>8}",
            words(name),
            show(a),
            show(b),
            ratio(a, b)
        )?;
    }
    for name in both(first.latencies.keys(), second.latencies.keys()) {
        let (a, b) = (&first.latencies[name], &second.latencies[name]);
        let lines = [
            ("p50", a.p50, b.p50),
            ("p99", a.p99, b.p99),
            ("p99.9", a.p999, b.p999),
            ("max", a.max, b.max),
        ];
        for (percentile, a, b) in lines {
            let (a, b) = (a as f64, b as f64);
            let label = format!("{name} latency {percentile}");
            writeln!(
                out,
                "  {label:<40} {:>14} {:>14} {:>8}",
                number::micros(a),
                number::micros(b),
                ratio(a, b)
            )?;
        }
    }
    for (letter, run) in [("A", first), ("B", second)] {
        for fault in &run.faults {
            writeln!(out, "  FAULT in {letter}: {fault}")?;
        }
    }
    Ok(())
}

fn both<'a>(a: impl Iterator<Item = &'a String>, b: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let b: BTreeSet<&String> = b.collect();
    a.filter(|name| b.contains(name)).collect()
}

/// Parameters that make two runs not quite the same.
fn differing<'a>(first: &'a Run, second: &'a Run) -> Vec<(&'a str, [&'a str; 2])> {
    let names: BTreeSet<&String> = first.parameters.keys().chain(second.parameters.keys()).collect();
    let of = |run: &'a Run, name: &str| run.parameters.get(name).map_or("not set", String::as_str);
    let pairs = names
        .into_iter()
        .map(|name| (name.as_str(), [of(first, name), of(second, name)]));
    pairs.filter(|(_, [a, b])| a != b).collect()
}

fn ratio(a: f64, b: f64) -> String {
    if a == 0.0 {
        return if b == 0.0 { "1.00".into() } else { "–".into() };
    }
    format!("{:.2}", b / a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cpu: f64) -> Run {
        let mut run = Run {
            name: format!("run at {cpu}"),
            ..Run::default()
        };
        run.figures.insert("cpu_us_per_delivery".into(), cpu);
        run.parameters.insert("rate".into(), "100".into());
        run
    }

    #[test]
    fn ratios_are_of_the_second_to_the_first() {
        let text = compare(&run(4.0), &run(6.0));
        assert!(text.contains("cpu per delivery"), "{text}");
        assert!(text.contains("1.50"), "{text}");
        assert!(!text.contains("differs"), "{text}");
    }

    #[test]
    fn what_was_measured_otherwise_is_told() {
        let mut other = run(4.0);
        other.parameters.insert("rate".into(), "50".into());
        other.faults.push("3 lost".into());
        let text = compare(&run(4.0), &other);
        assert!(text.contains("differs: rate is 100 in A, 50 in B"), "{text}");
        assert!(text.contains("FAULT in B: 3 lost"), "{text}");
    }
}
