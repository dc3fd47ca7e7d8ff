//! The process' CPU time, on the page of metrics.

use std::borrow::Cow;

use metrics_process::collector;

/// As the process collector names it.
const CPU: &str = "process_cpu_seconds_total";

/// Puts the CPU time in fractions into the page: a counter of the recorder holds whole numbers only, and in whole seconds a
/// short measurement shows nothing.
pub fn in_fractions(page: &str) -> String {
    match collector::collect().cpu_seconds_total {
        Some(seconds) => with_cpu(page, seconds),
        None => page.to_owned(),
    }
}

fn with_cpu(page: &str, seconds: f64) -> String {
    let whole = |line: &str| line.strip_prefix(CPU).is_some_and(|rest| rest.starts_with(' '));
    let lines = page.split_inclusive('\n').map(|line| {
        if whole(line) {
            format!("{CPU} {seconds}\n").into()
        } else {
            Cow::Borrowed(line)
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn cpu_time_is_told_in_fractions_and_all_else_stays() {
        let page = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 3\n\nother 1\n";
        assert_eq!(
            with_cpu(page, 3.27),
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 3.27\n\nother 1\n"
        );
    }

    #[test]
    fn a_short_time_of_work_shows_in_the_cpu_time() {
        let told = || {
            let page = in_fractions("process_cpu_seconds_total 0\n");
            let figure = page.strip_prefix("process_cpu_seconds_total ").expect("the figure");
            figure.trim().parse::<f64>().expect("a number")
        };
        let before = told();
        let (begun, mut after) = (Instant::now(), before);
        while after <= before && begun.elapsed() < Duration::from_secs(10) {
            after = told();
        }
        assert!(after > before, "{before} to {after}");
    }
}
