//! The demo page and the console: how they are served, and that they work in a real Chromium.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, path::PathBuf};

use herald_tests::{
    gateway::{Config, dev_gateway},
    http::{Response, get, request},
    javascript::{Tests, WITH_WEBSOCKETS, servers},
    token,
};
use serde_json::Value;

/// In `$CHROMIUM`, or where Debian puts it.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = named.unwrap_or_else(|| "/usr/bin/chromium".into());
    path.is_file().then_some(path)
}

async fn in_a_browser(name: &str, file: &str) {
    let Some(chromium) = chromium() else {
        eprintln!("SKIPPED {name}: no chromium; tests/install-tools installs it where it can");
        return;
    };
    let gateway = dev_gateway().await;
    let mut servers = servers(gateway.public(), gateway.admin());
    servers.push(("CHROMIUM", chromium.to_str().unwrap().to_owned()));
    Tests::start(WITH_WEBSOCKETS, file, &servers).pass().await;
}

#[tokio::test]
async fn the_demo_page_works_in_a_browser() {
    in_a_browser("the_demo_page_works_in_a_browser", "browser/demo.test.mjs").await;
}

#[tokio::test]
async fn the_console_works_in_a_browser() {
    in_a_browser("the_console_works_in_a_browser", "browser/console.test.mjs").await;
}

fn assert_guarded(path: &str, page: &Response) {
    assert_eq!(page.status, 200, "{path}: {page:?}");
    let policy = page.header("content-security-policy").unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(rule), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{path}: {policy}");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(page.header(name), Some(value), "{path}: {name}");
    }
}

/// All that a page loads, by its own words.
async fn assert_whole(address: SocketAddr, page: &str) {
    let mut wanted = vec![page.to_owned()];
    let mut at = 0;
    while let Some(path) = wanted.get(at).cloned() {
        let answer = get(address, &path).await;
        assert_guarded(&path, &answer);
        let folder = &path[..=path.rfind('/').unwrap()];
        for quote in ["src=\"", "href=\"", "from '"] {
            for found in answer.body.split(quote).skip(1) {
                let name = found.split(['"', '\'']).next().unwrap().trim_start_matches("./");
                let name = format!("{folder}{name}");
                let own = ["js", "css", "svg"]
                    .iter()
                    .any(|kind| name.ends_with(&format!(".{kind}")));
                if own && !name.contains("..") && !wanted.contains(&name) {
                    wanted.push(name);
                }
            }
        }
        at += 1;
    }
    assert!(wanted.len() > 4, "{wanted:?}");
}

#[tokio::test]
async fn pages_and_all_that_they_load_are_guarded() {
    let gateway = dev_gateway().await;
    assert_whole(gateway.public(), "/").await;
    assert_whole(gateway.admin(), "/console").await;
    assert_eq!(get(gateway.public(), "/console").await.status, 404);
    assert_eq!(get(gateway.admin(), "/").await.status, 404);
}

#[tokio::test]
async fn without_dev_there_is_a_console_and_no_demo() {
    let gateway = Config::default().start().await;
    for path in ["/", "/demo/demo.js"] {
        assert_eq!(get(gateway.public(), path).await.status, 404, "{path}");
    }
    let minted = request(gateway.public(), "POST", "/dev/token?user=alice", &[], b"").await;
    assert_eq!(minted.status, 404);
    assert_guarded("/console", &get(gateway.admin(), "/console").await);
}

#[tokio::test]
async fn with_dev_a_page_of_this_machine_is_given_tokens_and_no_other() {
    let gateway = dev_gateway().await;
    let mint = async |query: &str, headers: &[(&str, &str)]| {
        request(gateway.public(), "POST", &format!("/dev/token{query}"), headers, b"").await
    };
    let minted = mint("?user=zo%C3%AB&ttl=5", &[("Origin", "http://localhost:3000")]).await;
    assert_eq!((minted.status, minted.header("cache-control")), (200, Some("no-store")));
    let minted: Value = serde_json::from_str(&minted.body).unwrap();
    let claims = token::claims_of(minted["token"].as_str().unwrap());
    assert_eq!((&claims["sub"], &claims["exp"]), (&"zoë".into(), &minted["expires"]));
    let left = claims["exp"].as_u64().unwrap() - token::now();
    assert!(left <= 5, "{left}");
    assert_eq!(
        mint("?user=a", &[("Origin", "https://elsewhere.example")]).await.status,
        403
    );
    assert_eq!(mint("?user=a", &[("Host", "elsewhere.example")]).await.status, 403);
    for bad in [
        "",
        "?user=",
        "?user=a%0Ab",
        "?user=a&ttl=0",
        "?user=a&ttl=x",
        "?user=a&ttl=3601",
    ] {
        assert_eq!(mint(bad, &[]).await.status, 400, "{bad}");
    }
    assert_eq!(get(gateway.public(), "/dev/token?user=a").await.status, 405);
}
