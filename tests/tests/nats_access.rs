//! How nodes show NATS who they are, each way with a real server: the right one works, a wrong one is refused, and told.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use herald_tests::{
    client::{Client, Dialect},
    eventually,
    gateway::{Config, FREE, SECRET, file},
    http,
    metrics::Metrics,
    nats::NatsServer,
    process::Node,
    tls::Authority,
    token,
};
use serde_json::json;
use tempfile::NamedTempFile;

const PASSWORD: &str = "hunter2-of-nats";

fn router(nats: &str) -> Node {
    let config = file(&format!(
        "[admin]\nlisten = \"{FREE}\"\n[logging]\nlevel = \"debug\"\n{nats}\n"
    ));
    let path = config.path().to_str().unwrap().to_owned();
    let mut node = Node::spawn("herald-router", ["--config", &path]);
    node.files.push(config);
    node
}

/// A message goes through a router and a gateway that have both this `[nats]`.
async fn works(nats: &str) -> [Node; 2] {
    let mut router = router(nats);
    router.ready().await;
    let config = Config {
        rest: nats.to_owned(),
        router: String::new(),
        ..Config::default()
    };
    let gateway = config.start().await;
    let good = |user: &str| token::hs256(SECRET, &token::claims(user));
    let mut bob = Client::with_token(gateway.public(), Dialect::Json, &good("bob")).await;
    let mut alice = Client::with_token(gateway.public(), Dialect::Json, &good("alice")).await;
    alice.say(json!({"user": "bob"}), json!("through NATS")).await;
    assert_eq!(bob.next_message().await["body"], "through NATS");
    for node in [&router, &gateway] {
        assert!(!node.log().contains(PASSWORD), "a password in the log");
    }
    [router, gateway]
}

/// A router lives on, is not ready, and says why.
async fn is_refused(nats: &str, reason: &str, why: &str) -> Node {
    let mut router = router(nats);
    router.listens("admin").await;
    let admin = router.admin();
    let name = format!("herald_bus_refusals_total{{reason=\"{reason}\"}}");
    eventually("it is refused, and says so", async || {
        let ready = http::get(admin, "/health/ready").await;
        ready.status == 503 && ready.body.contains(why) && Metrics::of(admin).await.get(&name) > 0.0
    })
    .await;
    assert!(router.log().contains(why), "{}", router.log());
    assert!(!router.log().contains(PASSWORD), "a password in the log");
    assert!(router.running());
    router
}

fn at(server: &NatsServer, more: &str) -> String {
    format!("[nats]\nurls = [\"{}\"]\n{more}\n", server.url())
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

const REFUSED: &str = "authorization violation";

#[tokio::test]
async fn user_and_password_from_the_file_a_secret_file_or_the_url() {
    let server = NatsServer::start_with(&format!("authorization {{ user: herald, password: \"{PASSWORD}\" }}\n")).await;
    let secret = file(&format!("{PASSWORD}\n"));
    works(&at(&server, &format!("user = \"herald\"\npassword = \"{PASSWORD}\""))).await;
    let in_url = server.url().replace("nats://", &format!("nats://herald:{PASSWORD}@"));
    works(&format!("[nats]\nurls = [\"{in_url}\"]\n")).await;
    let by_file = at(
        &server,
        &format!("user = \"herald\"\npassword_file = \"{}\"", path(&secret)),
    );
    works(&by_file).await;
    is_refused(&at(&server, ""), "credentials", REFUSED).await;
    // What stands in the file is read at each attempt: once it is right, the node is there.
    std::fs::write(secret.path(), "wrong").unwrap();
    let mut late = is_refused(&by_file, "credentials", REFUSED).await;
    std::fs::write(secret.path(), PASSWORD).unwrap();
    late.ready().await;
}

#[tokio::test]
async fn a_token() {
    let server = NatsServer::start_with(&format!("authorization {{ token: \"{PASSWORD}\" }}\n")).await;
    let secret = file(PASSWORD);
    works(&at(&server, &format!("token_file = \"{}\"", path(&secret)))).await;
    is_refused(&at(&server, "token = \"another\""), "credentials", REFUSED).await;
}

#[tokio::test]
async fn an_nkey() {
    let (key, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let public = key.public_key();
    let server = NatsServer::start_with(&format!("authorization {{ users: [ {{ nkey: {public} }} ] }}\n")).await;
    let (seed, wrong) = (file(&key.seed().unwrap()), file(&other.seed().unwrap()));
    works(&at(&server, &format!("nkey_seed_file = \"{}\"", path(&seed)))).await;
    let wrong = at(&server, &format!("nkey_seed_file = \"{}\"", path(&wrong)));
    is_refused(&wrong, "credentials", REFUSED).await;
}

/// A JWT of NATS, as `nsc` would make it.
fn jwt(issuer: &nkeys::KeyPair, subject: &str, name: &str, nats: serde_json::Value) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": name, "iat": token::now(), "iss": issuer.public_key(), "name": name, "sub": subject, "nats": nats,
    });
    let signed = format!(
        "{}.{}",
        part(json!({"typ": "JWT", "alg": "ed25519-nkey"})),
        part(claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn creds(account: &nkeys::KeyPair) -> NamedTempFile {
    let user = nkeys::KeyPair::new_user();
    let claims = json!({"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2});
    let jwt = jwt(account, &user.public_key(), "herald", claims);
    let seed = user.seed().unwrap();
    file(&format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    ))
}

#[tokio::test]
async fn a_creds_file() {
    let (operator, account) = (nkeys::KeyPair::new_operator(), nkeys::KeyPair::new_account());
    // JetStream wants a system account beside the one that uses it.
    let system = nkeys::KeyPair::new_account();
    let open = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let stored = json!({"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let of = |key: &nkeys::KeyPair, name: &str, limits: serde_json::Value| {
        let claims = json!({"limits": limits, "type": "account", "version": 2});
        format!(
            "{}: {}",
            key.public_key(),
            jwt(&operator, &key.public_key(), name, claims)
        )
    };
    let by_operator = json!({"type": "operator", "version": 2});
    let server = NatsServer::start_with(&format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n{}\n}}\n",
        jwt(&operator, &operator.public_key(), "O", by_operator),
        system.public_key(),
        of(&system, "SYS", open.clone()),
        of(&account, "A", token::merged(open, &stored)),
    ))
    .await;
    let good = creds(&account);
    works(&at(&server, &format!("creds_file = \"{}\"", path(&good)))).await;
    let stranger = creds(&nkeys::KeyPair::new_account());
    let wrong = at(&server, &format!("creds_file = \"{}\"", path(&stranger)));
    is_refused(&wrong, "credentials", REFUSED).await;
}

/// A server's `tls` block, and the files of a client.
fn tls(authority: &Authority, more: &str) -> String {
    let pair = authority.signs(1);
    let show = |path: &Path| path.to_str().unwrap().to_owned();
    let (cert, key) = (authority.path("server.crt"), authority.path("server.key"));
    std::fs::write(&cert, pair.cert).unwrap();
    std::fs::write(&key, pair.key).unwrap();
    format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\"\n{more} }}\n",
        show(&cert),
        show(&key),
        show(&authority.root())
    )
}

fn client_files(authority: &Authority, name: &str) -> String {
    let pair = authority.signs(2);
    let (cert, key) = (
        authority.path(&format!("{name}.crt")),
        authority.path(&format!("{name}.key")),
    );
    std::fs::write(&cert, pair.cert).unwrap();
    std::fs::write(&key, pair.key).unwrap();
    format!("cert_file = \"{}\"\nkey_file = \"{}\"", cert.display(), key.display())
}

#[tokio::test]
async fn tls_with_a_client_certificate_that_is_read_again() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = NatsServer::start_certified(&tls(&authority, "verify: true")).await;
    let root = format!("[nats.tls]\nca_file = \"{}\"", authority.root().display());
    let with = |files: &str| at(&server, &format!("{root}\n{files}"));
    works(&with(&client_files(&authority, "client"))).await;
    // Of another authority, until the files are exchanged.
    let files = client_files(&stranger, "other");
    let mut late = is_refused(&with(&files), "tls", "no connection to NATS").await;
    let pair = authority.signs(3);
    std::fs::write(stranger.path("other.crt"), pair.cert).unwrap();
    std::fs::write(stranger.path("other.key"), pair.key).unwrap();
    late.ready().await;
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_not_spoken_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = NatsServer::start_certified(&tls(&authority, "")).await;
    let trusts = |authority: &Authority| {
        at(
            &server,
            &format!("[nats.tls]\nca_file = \"{}\"", authority.root().display()),
        )
    };
    works(&trusts(&authority)).await;
    is_refused(&trusts(&stranger), "tls", "certificate").await;
    // Where TLS is demanded, nothing goes in the clear.
    let plain = NatsServer::start().await;
    let demanded = at(
        &plain,
        &format!("[nats.tls]\nca_file = \"{}\"", authority.root().display()),
    );
    let mut router = router(&demanded);
    router.listens("admin").await;
    eventually("no connection", async || router.log().contains("no connection to NATS")).await;
    assert_eq!(Metrics::of(router.admin()).await.get("herald_bus_connects_total"), 0.0);
}

#[tokio::test]
async fn a_handshake_before_all_else() {
    let authority = Authority::new();
    let server = NatsServer::start_silent(&tls(&authority, "handshake_first: true")).await;
    let root = format!("[nats.tls]\nca_file = \"{}\"\n", authority.root().display());
    works(&at(&server, &format!("{root}handshake_first = true"))).await;
    is_refused(&at(&server, &root), "other", "no connection to NATS").await;
}

/// Before anything binds.
#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_at_the_start() {
    for (setting, fault) in [
        (
            "creds_file = \"/nowhere/herald.creds\"",
            "nats.creds_file: /nowhere/herald.creds: ",
        ),
        ("token_file = \"/nowhere/token\"", "nats.token_file: /nowhere/token: "),
        (
            "[nats.tls]\nca_file = \"/nowhere/ca.pem\"",
            "nats.tls.ca_file: /nowhere/ca.pem: ",
        ),
    ] {
        let mut node = router(&format!("[nats]\n{setting}\n"));
        assert_eq!(node.exit().await.code(), Some(2), "{}", node.log());
        assert!(node.log().contains(fault), "{}", node.log());
        assert_eq!(node.listeners(), 0);
    }
}
