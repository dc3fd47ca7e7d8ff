//! What browsers load from a gateway: the client library, the demo page and the console. All of it is in the binary.

use herald_router::http::{self, Body};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

pub mod console;
pub mod demo;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PAGE: &str = "text/html; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// Nothing but what this listener itself serves; no frames, no inline scripts or styles, and no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const FRAME_OPTIONS: HeaderName = header::X_FRAME_OPTIONS;
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The files of the library, which pages of all origins may load.
const LIBRARY: &[Asset] = &[
    Asset::new("/herald.js", SCRIPT, include_str!("../web/herald.js")),
    Asset::new(
        "/herald.d.ts",
        "text/plain; charset=utf-8",
        include_str!("../web/herald.d.ts"),
    ),
];

struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
    /// Tells one version of the text from another.
    hash: u64,
}

impl Asset {
    const fn new(path: &'static str, content_type: &'static str, text: &'static str) -> Self {
        Self {
            path,
            content_type,
            text,
            hash: fnv(text.as_bytes()),
        }
    }

    fn etag(&self) -> String {
        format!("\"{:016x}\"", self.hash)
    }
}

/// FNV-1a, which can be computed while compiling.
const fn fnv(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}

/// The client library; None for any other path. It holds no secret and does nothing by itself, so that every origin may
/// have it, those too that may not connect.
pub fn library<B>(request: &Request<B>) -> Option<Response<Body>> {
    let mut response = find(LIBRARY, request)?;
    let headers = response.headers_mut();
    for (name, value) in [
        // A newer gateway's library is had within minutes, and most loads ask nobody.
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (RESOURCE_POLICY, "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// A file of a page; None for any other path.
fn page<B>(assets: &[Asset], request: &Request<B>) -> Option<Response<Body>> {
    let mut response = find(assets, request)?;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

fn find<B>(assets: &[Asset], request: &Request<B>) -> Option<Response<Body>> {
    let path = request.uri().path();
    let asset = assets.iter().find(|asset| asset.path == path)?;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = http::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allow);
        return Some(response);
    }
    let etag = asset.etag();
    let mut response = if is_known(request.headers(), &etag) {
        let mut response = http::text(StatusCode::NOT_MODIFIED, "");
        response.headers_mut().remove(header::CONTENT_TYPE);
        response
    } else {
        http::typed(StatusCode::OK, asset.content_type, asset.text)
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    Some(response)
}

/// Whether the browser has this version already.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    known.filter_map(|value| value.to_str().ok()).any(|value| {
        let mut tags = value.split(',').map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, known: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri(path);
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let first = library(&get("/herald.js", None)).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        for known in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let again = library(&get("/herald.js", Some(&known))).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.headers()[header::ETAG].to_str().unwrap(), etag);
        }
        let other = library(&get("/herald.js", Some("\"x\""))).unwrap();
        assert_eq!(other.status(), StatusCode::OK);
        assert!(library(&get("/herald.css", None)).is_none());
    }

    #[test]
    fn pages_hold_no_inline_script_or_style() {
        for asset in console::ASSETS.iter().chain(demo::ASSETS) {
            if asset.content_type != PAGE {
                continue;
            }
            let text = asset.text.to_ascii_lowercase();
            let handler = |word: &str| word.starts_with("on") && word.contains('=');
            assert!(!text.split_whitespace().any(handler), "{}", asset.path);
            assert!(!text.contains("<style") && !text.contains(" style="), "{}", asset.path);
            let scripts = text.matches("<script").count();
            assert_eq!(text.matches("></script>").count(), scripts, "{}", asset.path);
        }
    }
}
