//! HTTP short connections: the statuses, cookies and quirks that the clients of the first reference article know.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use herald_tests::{
    gateway::{Config, SECRET, dev_gateway, dev_gateway_with, file},
    http::{Kept, Response, exchange, request},
    process::Node,
    short::{
        self, REQ_MY_DATA, RESP_LOGIN, cookie, envelope, logged_in, login, login_request, logout, message, opened,
        post, refresh, refreshed, token,
    },
    token as tokens,
};
use serde_json::json;

/// A development gateway whose tokens last for so many seconds, and can be refreshed for so many more.
async fn short_lived(ttl: u32, grace: u32) -> Node {
    let text = format!("[session]\ntoken_ttl = '{ttl}s'\nrefresh_grace = '{grace}s'\n");
    let file = file(&text);
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    gateway
}

/// Waits for the token's end, and the leeway behind it.
async fn expired(address: SocketAddr, token: &str) {
    herald_tests::eventually("the token ends", async || {
        message(address, token, REQ_MY_DATA, b"").await.status == 401
    })
    .await;
}

fn answered(response: &Response) -> (u16, &str) {
    (response.status, response.body.as_str())
}

const AGAIN: &str = "Invalid token. The client needs to login again";

#[tokio::test]
async fn one_logs_in_sends_refreshes_and_logs_out() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let response = login(address, "zbj", "whatever").await;
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let (msg_id, reply) = opened(&response);
    assert_eq!(msg_id, u64::from(RESP_LOGIN));
    assert_eq!(
        &reply[..5],
        b"\x1a\x03zbj",
        "no errCode, no number for a user, the account"
    );
    let first = token(&response);
    let echoed = message(address, &first, REQ_MY_DATA, b"who am I").await;
    assert_eq!(opened(&echoed), (u64::from(REQ_MY_DATA), b"who am I".to_vec()));
    let second = refreshed(address, &first).await;
    assert_ne!(first, second);
    for good in [&first, &second] {
        assert_eq!(message(address, good, REQ_MY_DATA, b"").await.status, 200);
    }
    let bye = logout(address, &second).await;
    assert_eq!(answered(&bye), (200, "logout success"));
    assert!(cookie(&bye).starts_with("token=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
    for token in [&first, &second] {
        assert_eq!(answered(&message(address, token, REQ_MY_DATA, b"").await), (401, AGAIN));
        assert_eq!(answered(&refresh(address, token).await), (401, AGAIN));
    }
}

#[tokio::test]
async fn the_cookie_is_as_the_protocol_says() {
    let gateway = dev_gateway().await;
    let response = login(gateway.public(), "zbj", "").await;
    let cookie = cookie(&response);
    let attributes: Vec<&str> = cookie.split("; ").collect();
    assert!(attributes[0].starts_with("token=eyJ"), "{cookie}");
    assert!(
        attributes[1].starts_with("Expires=") && attributes[1].ends_with(" GMT"),
        "{cookie}"
    );
    assert_eq!(
        attributes[2..],
        ["Path=/", "HttpOnly", "SameSite=Lax"],
        "not Secure in --dev"
    );
    let hash = herald_tests::command::hash("pig");
    let rest = format!("[[login.accounts]]\naccount = 'zbj'\nhash = '{hash}'\n");
    let config = Config {
        rest,
        ..Config::default()
    };
    let gateway = config.start().await;
    let response = login(gateway.public(), "zbj", "pig").await;
    assert!(short::cookie(&response).ends_with("; SameSite=Lax; Secure"));
}

/// The C# client sends the whole `Set-Cookie` value behind `Bearer`, another form of it after a refresh, and a cookie
/// header that says nothing.
#[tokio::test]
async fn the_quirks_of_the_articles_clients_work() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let body = envelope(short::REQ_LOGIN, &login_request("zbj", ""));
    let bare = request(address, "POST", "/login", &[("Authorization", "Bearer")], &body).await;
    assert_eq!(bare.status, 200, "{bare:?}");
    let whole = cookie(&bare);
    let send = async |authorization: &str, cookie: &str| {
        let headers = [("Authorization", authorization), ("Cookie", cookie)];
        request(address, "POST", "/message", &headers, &envelope(REQ_MY_DATA, b"x")).await
    };
    let bearer = format!("Bearer {whole}");
    assert_eq!(send(&bearer, "token=nonsense; a=b").await.status, 200);
    let fresh = request(address, "POST", "/refresh", &[("Authorization", &bearer)], b"").await;
    assert_eq!(fresh.status, 200, "{fresh:?}");
    let stripped = cookie(&fresh).strip_prefix("token=").unwrap().to_owned();
    assert!(stripped.contains("; Expires="));
    assert_eq!(send(&format!("Bearer {stripped}"), "x=y").await.status, 200);
    let alone = format!("token={}", token(&fresh));
    let by_cookie = request(
        address,
        "POST",
        "/message",
        &[("Cookie", &alone)],
        &envelope(REQ_MY_DATA, b""),
    )
    .await;
    assert_eq!(answered(&by_cookie), (401, ""), "the cookie is not looked at here");
}

#[tokio::test]
async fn every_row_of_the_articles_statuses() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let good = logged_in(address, "zbj").await;
    // Login.
    for bad in [&b""[..], b"{", b"{\"bytes\":\"!\"}", b"[]"] {
        let response = request(address, "POST", "/login", &[], bad).await;
        assert_eq!(response.status, 400, "{response:?}");
        assert!(!response.body.is_empty() && response.header("set-cookie").is_none());
    }
    // Message: the method is looked at first, then the token, then the body.
    for method in ["GET", "PUT", "DELETE"] {
        let response = request(address, method, "/message", &[], b"").await;
        assert_eq!(answered(&response), (405, "Only POST method is allowed"), "{method}");
    }
    let claims = tokens::claims("zbj");
    let old = tokens::merged(claims.clone(), &json!({"exp": tokens::now() - 60}));
    for bad in [
        "Bearer ".to_owned(),
        "Bearer nonsense".to_owned(),
        format!("bearer {good}"),
        format!("Bearer  {good}"),
        format!(
            "Bearer {}",
            tokens::hs256("quite-another-secret-0123456789abcdef", &claims)
        ),
        format!("Bearer {}", tokens::dev_with("zbj", &json!({"exp": null}))),
        format!("Bearer {}", tokens::hs256(tokens::DEV_SECRET, &old)),
    ] {
        let response = request(address, "POST", "/message", &[("Authorization", &bad)], b"{").await;
        assert_eq!(answered(&response), (401, ""), "{bad}");
    }
    let none = request(address, "POST", "/message", &[], b"{").await;
    assert_eq!(answered(&none), (401, ""));
    let gone = tokens::dev_with("zbj", &json!({"sid": "never-was", "gen": 0}));
    assert_eq!(answered(&post(address, "/message", &gone, b"{").await), (401, AGAIN));
    assert_eq!(post(address, "/message", &good, b"{").await.status, 400);
    assert_eq!(
        message(address, &good, 1, b"").await.status,
        404,
        "nothing is routed there"
    );
    // Refresh.
    let none = request(address, "POST", "/refresh", &[], b"").await;
    assert_eq!(answered(&none), (400, "Authorization header is required"));
    let bare = request(address, "POST", "/refresh", &[("Authorization", "Bearer")], b"").await;
    assert_eq!(answered(&bare), (400, "Authorization header is required"));
    assert_eq!(answered(&refresh(address, "nonsense").await), (401, "Invalid token"));
    assert_eq!(answered(&refresh(address, &gone).await), (401, AGAIN));
    let applications = tokens::dev("zbj");
    assert_eq!(answered(&refresh(address, &applications).await), (401, "Invalid token"));
    assert_eq!(
        message(address, &applications, REQ_MY_DATA, b"").await.status,
        200,
        "it needs no session"
    );
}

#[tokio::test]
async fn an_expired_token_is_refreshed_while_its_session_lives() {
    let gateway = short_lived(1, 60).await;
    let address = gateway.public();
    let first = logged_in(address, "zbj").await;
    expired(address, &first).await;
    let second = refreshed(address, &first).await;
    assert_eq!(message(address, &second, REQ_MY_DATA, b"").await.status, 200);
}

#[tokio::test]
async fn once_the_session_is_gone_nothing_refreshes() {
    let gateway = short_lived(1, 1).await;
    let address = gateway.public();
    let token = logged_in(address, "zbj").await;
    herald_tests::eventually("the session ends", async || {
        message(address, &token, REQ_MY_DATA, b"").await.status == 401
    })
    .await;
    herald_tests::eventually("refresh is refused", async || {
        refresh(address, &token).await.status == 401
    })
    .await;
}

/// The answer to a refresh may be lost: the token before may refresh again for a while. One older than that has been
/// copied by somebody.
#[tokio::test]
async fn a_token_of_two_generations_ago_ends_the_session() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let first = logged_in(address, "zbj").await;
    let second = refreshed(address, &first).await;
    let again = refreshed(address, &first).await;
    let third = refreshed(address, &again).await;
    assert_eq!(
        refresh(address, &second).await.status,
        200,
        "as good as the one that was given again"
    );
    assert_eq!(answered(&refresh(address, &first).await), (401, AGAIN));
    assert_eq!(
        answered(&message(address, &third, REQ_MY_DATA, b"").await),
        (401, AGAIN)
    );
    assert_eq!(answered(&refresh(address, &third).await), (401, AGAIN));
}

#[tokio::test]
async fn refreshes_at_the_same_time_all_succeed() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let first = logged_in(address, "zbj").await;
    let all = futures_util::future::join_all((0..6).map(|_| refreshed(address, &first))).await;
    for token in &all {
        assert_eq!(message(address, token, REQ_MY_DATA, b"").await.status, 200);
    }
    refreshed(address, &all[0]).await;
}

/// Keys in any case, null, line breaks within base64, and more than is known.
#[tokio::test]
async fn envelopes_are_read_as_the_original_reads_them() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let token = logged_in(address, "zbj").await;
    for body in [
        r#"{"MSG_ID":2933023166,"Bytes":"eA==","more":{"a":[1]}}"#,
        "{\"msg_id\":2933023166,\"bytes\":\"e\\r\\nA=\\n=\"}",
    ] {
        let response = post(address, "/message", &token, body.as_bytes()).await;
        assert_eq!(opened(&response), (u64::from(REQ_MY_DATA), b"x".to_vec()), "{body}");
    }
    let empty = post(address, "/message", &token, br#"{"msg_id":2933023166,"bytes":null}"#).await;
    assert_eq!(opened(&empty), (u64::from(REQ_MY_DATA), Vec::new()));
    assert_eq!(post(address, "/message", &token, b"{}").await.status, 404, "msg_id 0");
}

#[tokio::test]
async fn large_and_slow_bodies_are_refused() {
    let config = Config {
        limits: "http_body = '2KiB'".into(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let address = gateway.public();
    let token = tokens::hs256(SECRET, &tokens::claims("zbj"));
    let large = message(address, &token, 1, &[0; 2000]).await;
    assert_eq!(large.status, 413, "{large:?}");
    let chunked = format!(
        "POST /message HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n1000\r\n{}\r\n0\r\n\r\n",
        "x".repeat(4096)
    );
    assert_eq!(exchange(address, chunked.as_bytes()).await.status, 413);
    let silent =
        format!("POST /message HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(
        exchange(address, silent.as_bytes()).await.status,
        408,
        "after ten seconds"
    );
    assert_eq!(
        login(address, "zbj", "").await.status,
        503,
        "there is no service that knows anybody"
    );
}

/// A token that is refused before the body was read: the article's clients go on to refresh it on the same connection.
#[tokio::test]
async fn a_connection_goes_on_after_an_answer_that_came_before_the_body() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let good = logged_in(address, "zbj").await;
    for _ in 0..20 {
        let mut http = Kept::to(address).await;
        let refused = http
            .post_slowly("/message", "nonsense", &envelope(REQ_MY_DATA, b"x"))
            .await;
        assert_eq!(refused.status, 401, "{refused:?}");
        assert_eq!(refused.header("connection"), None);
        let answered = http.post("/message", &good, &envelope(REQ_MY_DATA, b"x")).await;
        assert_eq!(answered.status, 200, "{answered:?}");
    }
    let head = "POST /message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n";
    let large = exchange(address, head.as_bytes()).await;
    assert_eq!(
        (large.status, large.header("connection")),
        (401, Some("close")),
        "{large:?}"
    );
}

#[tokio::test]
async fn a_request_names_one_host() {
    let gateway = dev_gateway().await;
    for hosts in ["", "Host: localhost\r\nHost: localhost\r\n"] {
        let request = format!("POST /refresh HTTP/1.1\r\n{hosts}Connection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            exchange(gateway.public(), request.as_bytes()).await.status,
            400,
            "{hosts:?}"
        );
    }
}
