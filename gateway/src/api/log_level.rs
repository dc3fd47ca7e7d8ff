//! `GET` and `PUT /api/v1/log-level`: what this node writes down in its log, changed for a while.

use std::time::Duration;

use herald_router::{
    failure::Failure,
    telemetry::{LONGEST, Levels},
};
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::info;
use utoipa::ToSchema;

use super::{
    call::{Asked, Call, Json, NoBody, NoQuery},
    schema::written,
};

pub(super) struct Get;

impl Call for Get {
    const ID: &'static str = "get_log_level";
    const RIGHT: &'static str = "log-level";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/log-level";
    const SUMMARY: &'static str = "Tells the level of this gateway's log";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Level;

    async fn run(asked: Asked<'_, Self>) -> Result<Level, Failure> {
        Ok(Level::of(asked.levels))
    }
}

pub(super) struct Put;

impl Call for Put {
    const ID: &'static str = "set_log_level";
    const RIGHT: &'static str = "log-level";
    const METHOD: Method = Method::PUT;
    const PATH: &'static str = "/api/v1/log-level";
    const SUMMARY: &'static str = "Gives this gateway's log another level for a while";
    type Query = NoQuery;
    type Body = Json<Change>;
    type Answer = Level;

    async fn run(asked: Asked<'_, Self>) -> Result<Level, Failure> {
        let Change { level, time } = asked.body.0;
        if time > LONGEST {
            return Err(Failure::bad_request("for must be at most 24h"));
        }
        asked
            .levels
            .borrow(&level, time)
            .map_err(|error| Failure::bad_request(format!("level: {error}")))?;
        let api_key = asked.key;
        info!(
            ?level,
            seconds = time.as_secs(),
            api_key,
            "the log has another level for a while"
        );
        Ok(Level::of(asked.levels))
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogLevelChange)]
pub(super) struct Change {
    #[schema(value_type = Directives)]
    level: String,
    /// For an hour, unless said; at most "24h".
    #[serde(default = "an_hour", rename = "for", with = "humantime_serde")]
    #[schema(value_type = Time, required = false)]
    time: Duration,
}

/// As `[logging] level`.
pub(super) struct Directives;

pub(super) struct Time;

written! {
    Directives = "LogLevel", json!({
        "type": "string", "format": "herald-log-level",
        "description": "As `level` of `[logging]`: error, warn, info, debug, trace; or by target: info,herald_gateway=debug",
    });
    Time = "Duration", json!({ "type": "string", "format": "herald-duration", "description": "Such as 30s, 10m, 2h" });
}

fn an_hour() -> Duration {
    Duration::from_secs(3600)
}

#[derive(Serialize, ToSchema)]
#[schema(as = LogLevelNow)]
pub(super) struct Level {
    level: String,
    configured: String,
    /// Seconds until it is the configured one again.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

impl Level {
    fn of(levels: &Levels) -> Self {
        let held = levels.now();
        Self {
            level: held.now,
            configured: held.configured,
            left: held.left.map(|left| left.as_secs()),
        }
    }
}
