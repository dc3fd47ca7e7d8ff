//! `GET` and `POST /api/v1/drain`: this gateway is asked to end, spread over its drain window, and how far that is.

use herald_router::{drain::Drain, failure::Failure};
use humantime_serde::re::humantime::format_duration;
use hyper::Method;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Asked, Call, NoBody, NoQuery};

pub(super) struct Get;

impl Call for Get {
    const ID: &'static str = "get_drain";
    const RIGHT: &'static str = "drain";
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/api/v1/drain";
    const SUMMARY: &'static str = "Tells whether this gateway drains, and what is left";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Draining;

    async fn run(asked: Asked<'_, Self>) -> Result<Draining, Failure> {
        Ok(Draining::of(asked.drain))
    }
}

pub(super) struct Post;

impl Call for Post {
    const ID: &'static str = "drain";
    const RIGHT: &'static str = "drain";
    const METHOD: Method = Method::POST;
    const PATH: &'static str = "/api/v1/drain";
    const SUMMARY: &'static str = "Drains this gateway, which then ends";
    type Query = NoQuery;
    type Body = NoBody;
    type Answer = Draining;

    async fn run(asked: Asked<'_, Self>) -> Result<Draining, Failure> {
        asked.drain.ask();
        Ok(Draining::of(asked.drain))
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Draining {
    draining: bool,
    /// Over how much time its end is spread, such as "30s".
    window: String,
    /// Open connections.
    left: usize,
    /// Tells this process from the next one on its address.
    process: u64,
}

impl Draining {
    fn of(drain: &Drain) -> Self {
        let status = drain.status();
        Self {
            draining: status.draining,
            window: format_duration(status.window).to_string(),
            left: status.left,
            process: status.process,
        }
    }
}
