//! Browser pages of other origins: who may ask, and what a browser must be told so that its page sees the answer.

use herald_router::http::{self, Body};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{self, HeaderValue},
};

/// How long a browser may remember that it may ask, in seconds: Chromium's own limit.
const REMEMBER: &str = "7200";

/// The answer to a browser that asks whether it may ask, where this is such a question. Its origin has been checked.
pub fn preflight<B>(request: &Request<B>) -> Option<Response<Body>> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let mut response = http::text(StatusCode::NO_CONTENT, "");
    let answer = response.headers_mut();
    answer.remove(header::CONTENT_TYPE);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Last-Event-ID",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, REMEMBER),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// Lets the page that asked see the answer.
pub fn allow(response: &mut HeaderMap, origin: HeaderValue) {
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    response.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Retry-After"),
    );
    response.append(header::VARY, HeaderValue::from_static("Origin"));
}
