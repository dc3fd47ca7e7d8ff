//! `GET` and `PUT /api/v1/log-level`: what this node writes down in its log, changed for a while.

use std::time::Duration;

use herald_router::{
    failure::Failure,
    telemetry::{LONGEST, Levels},
};
use serde::{Deserialize, Serialize};
use tracing::info;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    level: String,
    /// "10m"; unset: for an hour.
    #[serde(default = "an_hour", rename = "for", with = "humantime_serde")]
    time: Duration,
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

#[derive(Serialize)]
pub(super) struct Level {
    level: String,
    configured: String,
    /// Seconds until it is the configured one again.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

pub(super) fn get(levels: &Levels) -> Level {
    let held = levels.now();
    Level {
        level: held.now,
        configured: held.configured,
        left: held.left.map(|left| left.as_secs()),
    }
}

pub(super) fn put(levels: &Levels, api_key: &str, body: &[u8]) -> Result<Level, Failure> {
    let call: Call = serde_json::from_slice(body).map_err(|error| Failure::bad_request(error.to_string()))?;
    if call.time > LONGEST {
        return Err(Failure::bad_request("for must be at most 24h"));
    }
    levels
        .borrow(&call.level, call.time)
        .map_err(|error| Failure::bad_request(format!("level: {error}")))?;
    info!(level = ?call.level, seconds = call.time.as_secs(), api_key, "the log has another level for a while");
    Ok(get(levels))
}
