//! A run as one page that needs nothing else: to be attached to a ticket.

use std::fmt::{self, Write};

use super::{
    Point, Run,
    chart::{Axis, Chart, Line, escape},
    number,
    table::words,
};

const STYLE: &str = include_str!("page.css");

pub fn page(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, run);
    out
}

fn write(out: &mut String, run: &Run) -> fmt::Result {
    let title = escape(&format!("{}: {} on {}", run.name, run.scenario, run.target));
    writeln!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    writeln!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>"
    )?;
    writeln!(out, "<style>\n{STYLE}</style></head><body><main>\n<h1>{title}</h1>")?;
    write_verdict(out, run)?;
    write_tables(out, run)?;
    write_charts(out, run)?;
    write_context(out, run)?;
    writeln!(out, "</main></body></html>")
}

fn write_verdict(out: &mut String, run: &Run) -> fmt::Result {
    if let Some(sign) = &run.stopped {
        writeln!(
            out,
            "<p>Stopped by {}: this is what was measured until then.</p>",
            escape(sign)
        )?;
    }
    if run.is_good() {
        return writeln!(
            out,
            "<p class=\"good\">Good: nothing lost, doubled or out of order, no fault.</p>"
        );
    }
    writeln!(out, "<ul class=\"bad\">")?;
    for fault in &run.faults {
        writeln!(out, "<li>{}</li>", escape(fault))?;
    }
    writeln!(out, "</ul>")
}

fn write_tables(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(out, "<div class=\"two\"><table>")?;
    for (name, figure) in &run.figures {
        writeln!(
            out,
            "<tr><th>{}</th><td>{}</td></tr>",
            words(name),
            number::figure(name, *figure)
        )?;
    }
    writeln!(out, "</table><table>")?;
    for (name, count) in &run.counts {
        writeln!(
            out,
            "<tr><th>{}</th><td>{}</td></tr>",
            words(name),
            number::count(*count)
        )?;
    }
    writeln!(out, "</table></div>")?;
    if run.latencies.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<table><tr><th>Latency</th><th>count</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>"
    )?;
    for (name, l) in &run.latencies {
        write!(
            out,
            "<tr><th>{}</th><td>{}</td><td>{}</td>",
            words(name),
            number::count(l.count),
            number::micros(l.mean)
        )?;
        for value in [l.p50, l.p90, l.p99, l.p999, l.max] {
            write!(out, "<td>{}</td>", number::micros(value as f64))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")
}

fn write_charts(out: &mut String, run: &Run) -> fmt::Result {
    let latency = |name: &str, of: fn(&super::Brief) -> u64| Line {
        name: name.into(),
        points: run
            .series
            .iter()
            .filter_map(|point| Some((point.second, of(point.latency.as_ref()?) as f64)))
            .collect(),
    };
    let over_time = vec![
        latency("p50", |l| l.p50),
        latency("p99", |l| l.p99),
        latency("max", |l| l.max),
    ];
    time_chart(
        out,
        run,
        "Delivery latency over time",
        over_time,
        number::micros,
        Axis::Log,
    )?;
    write_percentiles(out, run)?;
    let rate = vec![
        line(run, "delivered", |point| point.delivered as f64),
        line(run, "sent", |point| point.sent as f64),
    ];
    time_chart(out, run, "Messages a second", rate, number::plain, Axis::Plain)?;
    let bytes = vec![line(run, "received by clients", |point| point.bytes as f64)];
    time_chart(out, run, "Bytes a second", bytes, number::bytes, Axis::Bytes)?;
    let open = vec![line(run, "ready", |point| point.open as f64)];
    time_chart(out, run, "Connections", open, number::plain, Axis::Plain)?;
    let of_each = |of: fn(&Point) -> Vec<f64>| -> Vec<Line> {
        let named = run.processes.iter().enumerate();
        let points = |number: usize| {
            let points = run.series.iter();
            points
                .filter_map(move |point| Some((point.second, *of(point).get(number)?)))
                .collect()
        };
        named
            .map(|(number, name)| Line {
                name: name.clone(),
                points: points(number),
            })
            .collect()
    };
    let cpu = of_each(|point| point.cpu.clone());
    time_chart(out, run, "CPU", cpu, |v| format!("{} %", number::plain(v)), Axis::Plain)?;
    let rss = of_each(|point| point.rss.iter().map(|rss| *rss as f64).collect());
    time_chart(out, run, "Memory (resident)", rss, number::bytes, Axis::Bytes)
}

fn line(run: &Run, name: &str, of: fn(&Point) -> f64) -> Line {
    Line {
        name: name.into(),
        points: run.series.iter().map(|point| (point.second, of(point))).collect(),
    }
}

fn time_chart(
    out: &mut String,
    run: &Run,
    title: &str,
    lines: Vec<Line>,
    y_text: fn(f64) -> String,
    axis: Axis,
) -> fmt::Result {
    if lines.iter().all(|line| line.points.iter().all(|(_, y)| *y == 0.0)) {
        return Ok(());
    }
    let chart = Chart {
        lines,
        x_label: "seconds since the start",
        x_text: |x| format!("{} s", number::plain(x)),
        y_text,
        axis,
        moments: &run.moments,
        x_marks: None,
    };
    writeln!(out, "<h2>{title}</h2>\n{}", chart.svg())
}

/// Each step to the right halves what is left to 100 %.
fn write_percentiles(out: &mut String, run: &Run) -> fmt::Result {
    let place = |share: f64| -(1.0 - share).log2();
    let lines: Vec<Line> = run
        .latencies
        .iter()
        .filter(|(_, latency)| !latency.curve.is_empty())
        .map(|(name, latency)| Line {
            name: words(name),
            points: latency
                .curve
                .iter()
                .map(|(share, micros)| (place(*share), *micros as f64))
                .collect(),
        })
        .collect();
    let marks = [
        (0.0, "0"),
        (0.5, "50"),
        (0.9, "90"),
        (0.99, "99"),
        (0.999, "99.9"),
        (0.9999, "99.99"),
        (0.99999, "99.999"),
    ];
    let chart = Chart {
        lines,
        x_label: "percentile",
        x_text: |x| format!("{} %", number::plain(100.0 * (1.0 - 0.5_f64.powf(x)))),
        y_text: number::micros,
        axis: Axis::Log,
        moments: &[],
        x_marks: Some(
            marks
                .iter()
                .map(|(share, text)| (place(*share), (*text).to_owned()))
                .collect(),
        ),
    };
    let svg = chart.svg();
    if svg.is_empty() {
        Ok(())
    } else {
        writeln!(out, "<h2>Latency by percentile</h2>\n{svg}")
    }
}

fn write_context(out: &mut String, run: &Run) -> fmt::Result {
    let machine = &run.machine;
    writeln!(out, "<h2>How it was measured</h2><table>")?;
    let mut row =
        |name: &str, value: &str| writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
    let begun = std::time::UNIX_EPOCH + std::time::Duration::from_millis(run.started);
    row("begun", &humantime::format_rfc3339_seconds(begun).to_string())?;
    row("load test", &run.version)?;
    row(
        "machine",
        &format!(
            "{} × {}, {}",
            machine.cpus,
            machine.model,
            number::bytes(machine.memory as f64)
        ),
    )?;
    row("kernel", &machine.kernel)?;
    row("load average before", &number::plain(machine.load))?;
    for (name, value) in &run.parameters {
        row(name, value)?;
    }
    writeln!(out, "</table>")
}
