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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_name_with_labels() {
        let metrics = Metrics::parse("# TYPE a counter\na 3\nb{to=\"x y\"} 0.5\n\n");
        assert_eq!(
            (metrics.get("a"), metrics.get("b{to=\"x y\"}"), metrics.get("c")),
            (3.0, 0.5, 0.0)
        );
    }
}
