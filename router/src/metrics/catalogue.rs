//! What a metric is called and what it tells, so that none is shown without its help, and each ends in its base unit.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Latencies of a message's way: from 100 µs, what NATS takes at best, to the 10 s within which all is answered.
pub const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With its buckets' upper bounds.
    Histogram(&'static [f64]),
}

#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

pub const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        help,
    }
}

pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
    }
}

pub const fn histogram(name: &'static str, buckets: &'static [f64], help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram(buckets),
        help,
    }
}

impl Metric {
    /// The base unit that the name ends in.
    fn unit(&self) -> Option<Unit> {
        let quantity = self.name.strip_suffix("_total").unwrap_or(self.name);
        match quantity.rsplit('_').next() {
            Some("seconds") => Some(Unit::Seconds),
            Some("bytes") => Some(Unit::Bytes),
            _ => None,
        }
    }

    /// The recorder must be installed before.
    pub fn describe(&self) {
        let unit = self.unit().unwrap_or(Unit::Count);
        match self.kind {
            Kind::Counter => describe_counter!(self.name, unit, self.help),
            Kind::Gauge => describe_gauge!(self.name, unit, self.help),
            Kind::Histogram(_) => describe_histogram!(self.name, unit, self.help),
        }
    }

    /// What is wrong with the name, by Prometheus' conventions.
    pub fn fault(&self) -> Option<&'static str> {
        let not_base = ["_ms", "_milliseconds", "_minutes", "_kb", "_mb", "_percent"];
        let bare = self.name.strip_suffix("_total").unwrap_or(self.name);
        if (self.kind == Kind::Counter) != self.name.ends_with("_total") {
            Some("counters, and they alone, end in _total")
        } else if not_base.iter().any(|unit| bare.ends_with(unit)) {
            Some("not a base unit")
        } else if matches!(self.kind, Kind::Histogram(SECONDS)) && !self.name.ends_with("_seconds") {
            Some("buckets of seconds, and no seconds")
        } else if self.help.is_empty() || self.help.ends_with('.') {
            Some("help is one line without a full stop")
        } else {
            None
        }
    }
}
