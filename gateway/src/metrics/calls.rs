//! What is counted of calls to backends.

use std::{sync::Arc, time::Instant};

use metrics::{Gauge, counter, gauge, histogram};

use super::names::{CALL_SECONDS, CALLS, CALLS_IN_FLIGHT};

/// A call to a backend, under way until this is dropped. One that nobody tells the outcome of was cancelled.
pub struct CallUnderWay {
    gauge: Gauge,
    service: String,
    route: Option<Arc<str>>,
    begun: Instant,
    outcome: &'static str,
}

impl CallUnderWay {
    /// `service` is a name from the configuration, or nothing, and so is `route`.
    pub fn begin(service: &str, route: Option<Arc<str>>) -> Self {
        let gauge = gauge!(CALLS_IN_FLIGHT);
        gauge.increment(1.0);
        Self {
            gauge,
            service: service.to_owned(),
            route,
            begun: Instant::now(),
            outcome: "cancelled",
        }
    }

    pub fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        let service = std::mem::take(&mut self.service);
        let route = self.route.take().unwrap_or_default();
        histogram!(CALL_SECONDS, "service" => service.clone()).record(self.begun.elapsed().as_secs_f64());
        counter!(CALLS, "service" => service, "route" => route, "outcome" => self.outcome).increment(1);
    }
}
