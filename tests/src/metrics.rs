//! The figures that a node shows at `/metrics`.

use std::{collections::HashMap, net::SocketAddr};

use crate::http;

pub struct Metrics(HashMap<String, f64>);

impl Metrics {
    pub async fn of(admin: SocketAddr) -> Self {
        let response = http::get(admin, "/metrics").await;
        assert_eq!(response.status, 200, "{response:?}");
        Self::parse(&response.body)
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figures = lines.filter_map(|line| {
            let (name, figure) = line.rsplit_once(' ')?;
            Some((name.to_owned(), figure.parse().ok()?))
        });
        Self(figures.collect())
    }

    /// The figure of this name, its labels included; 0 where there is none yet.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The sum of all figures of this name whose labels, as they are written, include these.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = self.0.iter().filter(|(key, _)| key.split('{').next() == Some(name));
        let figures = of_name.filter(|(key, _)| labels.iter().all(|label| key.contains(label)));
        // Of no floats the sum is -0.0.
        figures.map(|(_, figure)| figure).sum::<f64>() + 0.0
    }

    /// The upper bound of the histogram's bucket that `part` of what was counted since `before` lies within, in the
    /// histogram's unit. `labels` as they stand before the bound, `name_bucket{labels,le="`.
    pub fn bound_since(&self, before: &Self, name: &str, labels: &str, part: f64) -> f64 {
        let start = format!("{name}_bucket{{{labels},le=\"");
        let since = |name: &str| self.get(name) - before.get(name);
        let all = since(&format!("{start}+Inf\"}}"));
        let bounds = self.0.keys().filter_map(|key| {
            let bound = key.strip_prefix(&start)?.strip_suffix("\"}")?;
            let bound = bound.parse::<f64>().ok()?;
            (since(key) >= part * all).then_some(bound)
        });
        bounds.fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_tells_within_what_most_of_it_lies() {
        let before = Metrics::parse(
            "h_bucket{v=\"a\",le=\"1\"} 5\nh_bucket{v=\"a\",le=\"2.5\"} 5\nh_bucket{v=\"a\",le=\"+Inf\"} 5\n",
        );
        let text =
            "h_bucket{v=\"a\",le=\"1\"} 95\nh_bucket{v=\"a\",le=\"2.5\"} 104\nh_bucket{v=\"a\",le=\"+Inf\"} 105\n";
        let after = Metrics::parse(text);
        let bound = |part| after.bound_since(&before, "h", "v=\"a\"", part);
        assert_eq!((bound(0.9), bound(0.99), bound(1.0)), (1.0, 2.5, f64::INFINITY));
    }

    #[test]
    fn figures_have_their_name_with_labels() {
        let metrics = Metrics::parse("# TYPE a counter\na 3\nb{to=\"x y\"} 0.5\n\n");
        assert_eq!(
            (metrics.get("a"), metrics.get("b{to=\"x y\"}"), metrics.get("c")),
            (3.0, 0.5, 0.0)
        );
    }
}
