//! What a real Prometheus knows of a cluster.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::Value;

use crate::{http, upgrade::escaped};

pub struct Prometheus(pub SocketAddr);

impl Prometheus {
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let encoded = |text: &str| text.bytes().map(escaped).collect::<String>();
        let parameters = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let query: Vec<String> = parameters.collect();
        let answer = http::get(self.0, &format!("/api/v1/{path}?{}", query.join("&"))).await;
        let mut body: Value = serde_json::from_str(&answer.body).map_err(|e| format!("{e}: {answer:?}"))?;
        match body["status"].as_str() {
            Some("success") => Ok(body["data"].take()),
            _ => Err(body["error"].to_string()),
        }
    }

    /// The samples that a query gives now; an error where it is none.
    pub async fn query(&self, query: &str) -> Result<Vec<f64>, String> {
        let data = self.ask("query", &[("query", query)]).await?;
        let results = data["result"].as_array().cloned().unwrap_or_default();
        let number = |result: &Value| result["value"][1].as_str()?.parse().ok();
        Ok(results.iter().filter_map(number).collect())
    }

    pub async fn label_values(&self, label: &str, selector: &str) -> Vec<String> {
        let data = self
            .ask(&format!("label/{label}/values"), &[("match[]", selector)])
            .await;
        serde_json::from_value(data.expect("the label's values")).expect("a list of texts")
    }

    /// The names of all that it knows.
    pub async fn names(&self) -> BTreeSet<String> {
        let data = self.ask("label/__name__/values", &[]).await;
        serde_json::from_value(data.expect("the names")).expect("a list of texts")
    }

    /// All rules, as it has read them.
    pub async fn rules(&self) -> Vec<Value> {
        let data = self.ask("rules", &[]).await.expect("the rules");
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        rules.collect()
    }

    /// The names of the alerts that fire.
    pub async fn firing(&self) -> BTreeSet<String> {
        let data = self.ask("alerts", &[]).await.expect("the alerts");
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing
            .filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned()))
            .collect()
    }
}
