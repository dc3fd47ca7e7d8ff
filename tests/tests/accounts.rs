//! Accounts of the configuration: nobody learns which there are, nobody guesses for long, and no secret is written down.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, sync::OnceLock};

use herald_tests::{
    client::Client,
    cluster::dev_router,
    command,
    gateway::{Config, SECRET, dev_gateway_with, file},
    http::{Response, get, request},
    nats::NatsServer,
    process::Node,
    short::{REQ_MY_DATA, envelope, login, login_request, logout, message, opened, refresh, refreshed, token},
    token as tokens,
};
use serde_json::json;

const PASSWORD: &str = "a-pig-of-the-west";

/// Made once: hashing is slow on purpose.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| command::hash(PASSWORD))
}

fn accounts() -> String {
    let hash = hash();
    format!(
        "[[login.accounts]]\naccount = 'zbj'\nhash = '{hash}'\n[[login.accounts]]\naccount = 'swk'\nhash = '{hash}'\n"
    )
}

async fn gateway(login: &str, public: &str) -> Node {
    let config = Config {
        rest: format!("[login]\n{login}\n{}", accounts()),
        public: public.to_owned(),
        ..Config::default()
    };
    config.start().await
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_look_the_same() {
    let gateway = gateway("refused_code = 7", "").await;
    let address = gateway.public();
    let wrong = login(address, "zbj", "guess").await;
    let unknown = login(address, "nobody", "guess").await;
    let without_date = |response: &Response| {
        let head = response
            .head
            .lines()
            .filter(|line| !line.to_lowercase().starts_with("date:"));
        (
            response.status,
            head.collect::<Vec<_>>().join("\n"),
            response.body.clone(),
        )
    };
    assert_eq!(without_date(&wrong), without_date(&unknown));
    assert_eq!(
        (wrong.status, opened(&wrong).1),
        (200, b"\x08\x07".to_vec()),
        "errCode alone"
    );
    assert_eq!(wrong.header("set-cookie"), None);
    let right = login(address, "zbj", PASSWORD).await;
    assert_eq!((right.status, right.header("set-cookie").is_some()), (200, true));
}

#[tokio::test]
async fn guesses_are_limited_by_account_whether_it_exists_or_not() {
    let gateway = gateway("failures_per_account = 3", "").await;
    let address = gateway.public();
    for account in ["zbj", "nobody"] {
        for _ in 0..3 {
            assert_eq!(login(address, account, "guess").await.status, 200);
        }
        let limited = login(address, account, PASSWORD).await;
        assert_eq!(limited.status, 429, "the right password too: {limited:?}");
        assert!(limited.header("retry-after").unwrap().parse::<u32>().unwrap() <= 61);
    }
    for _ in 0..6 {
        assert!(login(address, "swk", PASSWORD).await.header("set-cookie").is_some());
    }
}

#[tokio::test]
async fn attempts_are_limited_by_address_and_others_are_not_touched() {
    let gateway = gateway("attempts_per_address = 1", "trusted_proxies = ['127.0.0.0/8']").await;
    let address = gateway.public();
    let from = async |client: &str| {
        let body = envelope(1, &login_request("zbj", PASSWORD));
        request(address, "POST", "/login", &[("X-Forwarded-For", client)], &body)
            .await
            .status
    };
    // One a minute, so that a slow machine is none the better for it.
    assert_eq!(from("203.0.113.9").await, 200);
    assert_eq!(from("203.0.113.9").await, 429);
    assert_eq!(
        from("6.6.6.6, 203.0.113.9").await,
        429,
        "what stands before it counts for nothing"
    );
    assert_eq!(from("203.0.113.10").await, 200);
}

#[tokio::test]
async fn the_clients_address_is_believed_of_trusted_proxies_alone() {
    let seen = async |public: &str, header: (&str, &str)| {
        let gateway = gateway("", public).await;
        let body = envelope(1, &login_request("zbj", PASSWORD));
        let response = request(gateway.public(), "POST", "/login", &[header], &body).await;
        assert_eq!(response.status, 200, "{response:?}");
        let bearer = format!("Bearer {}", herald_tests::gateway::API_KEY);
        let headers = [("Authorization", bearer.as_str())];
        let user = request(gateway.admin(), "GET", "/api/v1/users/zbj", &headers, b"").await;
        user.json()["sessions"][0]["address"].as_str().unwrap().to_owned()
    };
    let xff = ("X-Forwarded-For", "203.0.113.9");
    assert_eq!(seen("", xff).await, "127.0.0.1");
    assert_eq!(seen("trusted_proxies = ['127.0.0.1/32']", xff).await, "203.0.113.9");
    let forwarded = ("Forwarded", "for=\"[2001:db8::7]:80\";proto=https");
    assert_eq!(seen("trusted_proxies = ['127.0.0.1/32']", forwarded).await, "127.0.0.1");
    let both = "trusted_proxies = ['127.0.0.1/32']\nclient_address = 'forwarded'";
    assert_eq!(seen(both, forwarded).await, "2001:db8::7");
}

async fn from_page(address: SocketAddr, method: &str, path: &str, origin: &str) -> Response {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    request(address, method, path, &headers, b"").await
}

#[tokio::test]
async fn only_listed_pages_may_ask_and_see_the_answer() {
    let gateway = gateway("", "origins = ['https://app.example']").await;
    let address = gateway.public();
    for path in ["/login", "/message", "/refresh", "/logout"] {
        let asks = from_page(address, "OPTIONS", path, "https://app.example").await;
        assert_eq!((asks.status, asks.body.as_str()), (204, ""), "{asks:?}");
        assert_eq!(asks.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(asks.header("access-control-allow-credentials"), Some("true"));
        assert!(
            asks.header("access-control-allow-headers")
                .unwrap()
                .contains("Authorization")
        );
        assert_eq!(asks.header("vary"), Some("Origin"));
        let answer = from_page(address, "POST", path, "https://app.example").await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://app.example")
        );
        for method in ["OPTIONS", "POST"] {
            for origin in ["https://evil.example", "null", "https://app.example.evil"] {
                let refused = from_page(address, method, path, origin).await;
                assert_eq!(refused.status, 403, "{method} {path} {origin}");
                assert_eq!(refused.header("access-control-allow-origin"), None);
            }
        }
    }
}

/// With the key of yesterday still there for the tokens of yesterday.
#[tokio::test]
async fn keys_are_exchanged_without_dropping_anyone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    let key =
        |kid: &str, secret: &str| format!("[[auth.keys]]\nkid = '{kid}'\nalgorithm = 'HS256'\nsecret = '{secret}'\n");
    let (old, new) = (
        key("old", "yesterdays-secret-0123456789abcdef"),
        key("new", "todays-secret-0123456789abcdefghi"),
    );
    let config = |keys: &str, sign: &str| {
        format!(
            "drain = '1s'\n[public]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = '127.0.0.1:0'\n[auth]\nsign_with = '{sign}'\n{keys}{}",
            accounts()
        )
    };
    let write = |text: String| std::fs::write(&path, text).unwrap();
    write(config(&old, "old"));
    let mut gateway = Node::start("herald-gateway", ["--config", path.to_str().unwrap()]).await;
    gateway.listens("public").await;
    let address = gateway.public();
    let first = token(&login(address, "zbj", PASSWORD).await);
    let mut client = Client::with_token(address, herald_tests::client::Dialect::Json, &first).await;
    let kid = |token: &str| tokens::header(token)["kid"].clone();
    assert_eq!(kid(&first), "old");
    write(config(&format!("{old}{new}"), "new"));
    gateway.signal(rustix::process::Signal::HUP);
    let mut second = String::new();
    herald_tests::eventually("the new key signs", async || {
        second = refreshed(address, &first).await;
        kid(&second) == "new"
    })
    .await;
    for good in [&first, &second] {
        assert_eq!(
            message(address, good, REQ_MY_DATA, b"").await.status,
            404,
            "known, and not routed"
        );
    }
    write("[auth]\nleeway = 'nonsense'\n".to_owned());
    gateway.signal(rustix::process::Signal::HUP);
    herald_tests::eventually("a bad file is told of", async || {
        gateway.log().contains("nothing was changed")
    })
    .await;
    assert_eq!(kid(&refreshed(address, &second).await), "new");
    write(config(&new, "new"));
    gateway.signal(rustix::process::Signal::HUP);
    herald_tests::eventually("the old key is gone", async || {
        message(address, &first, REQ_MY_DATA, b"").await.status == 401
    })
    .await;
    client.ask(json!({"ping": {}}), "pong").await;
    assert!(gateway.running());
}

/// At the most talkative level, whatever is done with them.
#[tokio::test]
async fn no_secret_reaches_a_log() {
    let text = format!("[logging]\nlevel = 'trace'\n{}", accounts());
    let config = file(&text);
    let nats = NatsServer::start().await;
    let _router = dev_router(&nats.url()).await;
    let gateway = dev_gateway_with(&["--config", config.path().to_str().unwrap(), "--nats", &nats.url()]).await;
    let address = gateway.public();
    let first = token(&login(address, "zbj", PASSWORD).await);
    login(address, "zbj", "a-wrong-password-to-be-seen").await;
    message(address, &first, REQ_MY_DATA, b"a-body-that-nobody-is-to-read").await;
    let second = refreshed(address, &first).await;
    let mut client = Client::with_token(address, herald_tests::client::Dialect::Json, &second).await;
    client
        .say(json!({"user": "zbj"}), json!("a-body-that-nobody-is-to-read"))
        .await;
    client
        .refused(json!({"refresh": {"token": "a-token-that-is-none"}}))
        .await;
    refresh(address, "a-token-that-is-none").await;
    message(address, "a-token-that-is-none", 1, b"").await;
    let api = request(
        gateway.admin(),
        "GET",
        "/api/v1/users/zbj",
        &[("Authorization", "Bearer a-wrong-api-key")],
        b"",
    )
    .await;
    assert_eq!(api.status, 401);
    request(
        gateway.admin(),
        "GET",
        "/api/v1/users/zbj",
        &[("Authorization", "Bearer dev-api-key")],
        b"",
    )
    .await;
    logout(address, &second).await;
    get(gateway.admin(), "/metrics").await;
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let log = gateway.log();
    assert!(log.contains("DEBUG"), "it talks: {log}");
    for secret in [
        PASSWORD,
        hash().rsplit('$').next().unwrap(),
        "a-wrong-password-to-be-seen",
        "a-body-that-nobody-is-to-read",
        "a-token-that-is-none",
        "a-wrong-api-key",
        "dev-api-key",
        tokens::DEV_SECRET,
        &signature(&first),
        &signature(&second),
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
        let encoded = base64_of(secret);
        assert!(!log.contains(&encoded), "{secret} in base64");
    }
}

fn base64_of(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    STANDARD_NO_PAD.encode(text)
}

#[tokio::test]
async fn a_configuration_that_cannot_log_anyone_in_is_a_fault() {
    let check = |text: &str| {
        let file = file(text);
        command::run("herald-gateway", ["check", "--config", file.path().to_str().unwrap()])
    };
    let key = format!("[[auth.keys]]\nalgorithm = 'HS256'\nsecret = '{SECRET}'\n");
    let fine = check(&format!("{key}{}", accounts()));
    assert_eq!(fine.code, Some(0), "{fine:?}");
    for (text, path) in [
        (
            format!("{key}[[login.accounts]]\naccount = 'a'\nhash = 'plain text'\n"),
            "login.accounts[0].hash",
        ),
        (format!("{key}{0}{0}", accounts()), "login.accounts[2].account"),
        (
            format!("{key}[login]\nservice = 'auth'\n{}", accounts()),
            "login.accounts",
        ),
        (format!("{key}[login]\nservice = 'no.dots'\n"), "login.service"),
        (format!("{key}[session]\ntoken_ttl = '0s'\n"), "session.token_ttl"),
        (format!("{key}[session]\nmax_age = '31days'\n"), "session.max_age"),
        (format!("{key}[auth]\nsign_with = 'no such key'\n"), "auth.sign_with"),
        (
            format!("{key}[public]\ntrusted_proxies = ['everybody']\n"),
            "public.trusted_proxies[0]",
        ),
    ] {
        let outcome = check(&text);
        assert_eq!(outcome.code, Some(2), "{text}");
        assert!(
            outcome.stderr.lines().any(|line| line.starts_with(path)),
            "{path} in {}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains("plain text"), "nor is what stands there shown");
    }
}
