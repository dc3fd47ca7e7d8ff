//! The console, on the admin listener. The page itself is nothing secret: what it shows it asks of the server API, with
//! the key that its user gives.

use herald_router::http::Body;
use hyper::{Request, Response};

use super::{Asset, ICON, PAGE, SCRIPT, STYLE};

macro_rules! asset {
    ($path:literal, $type:ident, $file:literal) => {
        Asset::new($path, $type, include_str!(concat!("../../web/console/", $file)))
    };
}

pub(super) const ASSETS: &[Asset] = &[
    asset!("/console", PAGE, "index.html"),
    asset!("/console/console.css", STYLE, "console.css"),
    asset!("/console/console.js", SCRIPT, "console.js"),
    asset!("/console/api.js", SCRIPT, "api.js"),
    asset!("/console/charts.js", SCRIPT, "charts.js"),
    asset!("/console/groups.js", SCRIPT, "groups.js"),
    asset!("/console/live.js", SCRIPT, "live.js"),
    asset!("/console/metrics.js", SCRIPT, "metrics.js"),
    asset!("/console/nodes.js", SCRIPT, "nodes.js"),
    asset!("/console/parts.js", SCRIPT, "parts.js"),
    asset!("/console/send.js", SCRIPT, "send.js"),
    asset!("/console/users.js", SCRIPT, "users.js"),
    Asset::new("/console/dom.js", SCRIPT, include_str!("../../web/dom.js")),
    Asset::new("/console/icon.svg", ICON, include_str!("../../web/icon.svg")),
];

/// None: none of its paths.
pub fn answer<B>(request: &Request<B>) -> Option<Response<Body>> {
    super::page(ASSETS, request)
}
