//! `[telemetry]`: where spans go.

use hyper::Uri;
use serde::Deserialize;

use super::Faults;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// None: nowhere.
    pub otlp_endpoint: Option<String>,
    /// Of the traces that begin on this node, the part that is sampled.
    pub otlp_sample: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            otlp_sample: 0.01,
        }
    }
}

impl TelemetrySettings {
    pub fn check(&self, faults: &mut Faults) {
        if !(0.0..=1.0).contains(&self.otlp_sample) {
            faults.add("telemetry.otlp_sample", "must be 0 to 1");
        }
        let Some(endpoint) = &self.otlp_endpoint else { return };
        if !cfg!(feature = "otel") {
            faults.add("telemetry.otlp_endpoint", "built without the feature otel");
        } else if !is_http(endpoint) {
            let must = "must be a URL such as http://127.0.0.1:4318, without a query; https is not spoken";
            faults.add("telemetry.otlp_endpoint", must);
        }
    }
}

fn is_http(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|url| {
        url.scheme_str() == Some("http") && url.host().is_some_and(|host| !host.is_empty()) && url.query().is_none()
    })
}
