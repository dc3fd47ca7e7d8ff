//! What README and `proto/events.md` show is what happens: their commands are run, their tables are checked, and their examples
//! hold the fields that real events have. (`openapi.rs` runs those of the server API.)
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
    process::Stdio,
};

use herald_tests::{
    PATIENCE,
    api::Api,
    client::Client,
    command, eventually,
    gateway::{Config, dev_gateway, dev_gateway_with, file},
    http::{self, DEV_API_KEY},
    process::binary,
    short::{login, logout, token},
    webhook::Receiver,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

const README: &str = include_str!("../../README.md");
const EVENTS: &str = include_str!("../../proto/events.md");

/// Code is indented; a block ends with the first line that is not.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(code) => {
                let block = blocks.last_mut().unwrap();
                *block += code;
                block.push('\n');
            }
            None if line.is_empty() && blocks.last().unwrap().starts_with('[') => blocks.last_mut().unwrap().push('\n'),
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// The lines of README that ask a gateway something, each whole.
fn requests() -> Vec<String> {
    let code = blocks(README).join("").replace("\\\n", " ");
    let asks = |line: &&str| line.starts_with("curl ") || line.starts_with("token=");
    code.lines().filter(asks).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_readmes_requests_are_answered() {
    let gateway = dev_gateway().await;
    let (mut ran, mut streams) = (0, 0);
    let mut token = String::new();
    for line in requests() {
        let line = line
            .replace("127.0.0.1:8002", &gateway.public().to_string())
            .replace("127.0.0.1:9002", &gateway.admin().to_string())
            .replace(
                "target/release/herald-gateway",
                binary("herald-gateway").to_str().unwrap(),
            )
            .replace("<key>", DEV_API_KEY)
            .replace("\"wait\":30", "\"wait\":1");
        if line.starts_with("token=") {
            token = line;
            continue;
        }
        // A stream goes on for ever: it is cut, and curl says so.
        let is_stream = line.starts_with("curl -N");
        let within = if is_stream { 2 } else { PATIENCE.as_secs() };
        let line = line.replacen("curl ", &format!("curl --fail-with-body --max-time {within} "), 1);
        let script = format!("set -u\n{token}\n{line}");
        let output = Command::new("bash").args(["-c", &script]).kill_on_drop(true).output();
        let output = output.await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        if is_stream {
            assert_eq!(output.status.code(), Some(28), "{line}: {said}");
            assert!(said.contains("event: connected"), "{line}: {said}");
            streams += 1;
        } else {
            assert!(output.status.success(), "{line}: {said}");
            let said: Value = serde_json::from_str(&said).unwrap();
            assert!(said.get("error").is_none(), "{line}: {said}");
        }
        ran += 1;
    }
    assert!(ran >= 6 && streams == 1, "{ran} requests, {streams} streams");
}

/// Files that they name are not there.
#[tokio::test]
async fn the_tables_of_the_documentation_are_configurations() {
    const TRIED: [&str; 4] = ["[services.", "[[webhooks]]", "[hooks.", "[[routes]]"];
    let mut tried = BTreeSet::new();
    for block in blocks(README).into_iter().chain(blocks(EVENTS)) {
        let Some(kind) = TRIED.into_iter().find(|kind| block.starts_with(kind)) else {
            continue;
        };
        let config = Config {
            rest: block.replace('…', "0123456789abcdef"),
            ..Config::default()
        };
        let file = file(&config.text());
        let outcome = command::run("herald-gateway", ["check", "--config", file.path().to_str().unwrap()]);
        assert_eq!(outcome.code, Some(0), "{block}: {}", outcome.stderr);
        tried.insert(kind);
    }
    assert_eq!(tried, BTreeSet::from(["[services.", "[[webhooks]]", "[hooks."]));
}

#[tokio::test]
async fn the_signature_of_the_documentation_is_the_one_that_its_command_makes() {
    let line = blocks(EVENTS).join("");
    let line = line.lines().find(|line| line.contains("openssl")).unwrap();
    let made = Command::new("bash").arg("-c").arg(line).output().await.unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let made = made.trim().rsplit(' ').next().unwrap();
    assert_eq!(made.len(), 64, "{made}");
    assert!(
        EVENTS.contains(&format!("Herald-Signature: t=1790000000,v1={made}\n")),
        "{made}"
    );
}

/// Its fields, but for those that stand only where there is such a thing.
fn fields(event: &Value) -> BTreeSet<String> {
    let all = event.as_object().unwrap().keys();
    all.filter(|name| !["device", "session"].contains(&name.as_str()))
        .cloned()
        .collect()
}

/// The events that the documentation shows, by kind.
fn shown() -> BTreeMap<String, Vec<Value>> {
    let mut shown: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in blocks(EVENTS).join("").lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if let (Some(kind), true) = (event["kind"].as_str(), event["node"].is_string()) {
            shown.entry(kind.to_owned()).or_default().push(event.clone());
        }
    }
    shown
}

#[tokio::test]
async fn events_hold_the_fields_that_the_documentation_shows() {
    let receiver = Receiver::start().await;
    let kinds: Vec<String> = shown().into_keys().collect();
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    let file = file(&format!(
        "[events]\nkinds = {}\n{}",
        json!(kinds),
        receiver.table("hook", "")
    ));
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    let api = Api::dev(gateway.admin());
    let upgrade = herald_tests::client::Upgrade::to(gateway.public());
    let mut bob = upgrade
        .text("token", &herald_tests::token::dev("bob"))
        .query("device", "phone")
        .connect()
        .await;
    bob.join("team").await;
    bob.say(json!({"group": "team"}), json!({"text": "hi"})).await;
    api.delete("groups/team").await;
    bob.close().await;
    let response = login(gateway.public(), "zoe", "any").await;
    logout(gateway.public(), &token(&response)).await;
    for (kind, user) in [("offline", "bob"), ("logout", "zoe")] {
        receiver.hears(user, kind).await;
    }
    let deleted = |event: &&Value| event["deleted"] == true;
    eventually("the deletion", async || {
        receiver.events().iter().any(|event| deleted(&event))
    })
    .await;
    for (kind, examples) in shown() {
        for example in examples {
            let alike = |event: &&Value| event["kind"] == *kind && deleted(event) == deleted(&&example);
            let real = receiver.events().into_iter().find(|event| alike(&event)).unwrap();
            assert_eq!(fields(&real), fields(&example), "{real} is shown as {example}");
            if kind == "message" {
                assert_eq!(fields(&real["message"]), fields(&example["message"]), "{real}");
            }
            for (name, value) in example.as_object().unwrap() {
                let same = std::mem::discriminant(value) == std::mem::discriminant(&real[name]);
                assert!(same || real[name].is_null(), "{name} of {real} is shown as {example}");
            }
        }
    }
}

/// By somebody who knows nothing but the documentation: Python's own library.
#[tokio::test]
async fn the_example_of_a_receiver_takes_what_is_signed_and_nothing_else() {
    const SECRET: &str = "a-secret-of-the-example";
    let python = env::var_os("NATS_PYTHON").unwrap_or_else(|| "python3".into());
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut child = Command::new(python)
        .arg(examples.join("webhook.py"))
        .args(["0", SECRET])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let address: std::net::SocketAddr = format!("127.0.0.1:{}", next().await["listening"]).parse().unwrap();
    for forged in ["", "t=1790000000,v1=00", "v1=00", "t=x,v1=00"] {
        let body = br#"{"events":[{"id":"forged"}]}"#;
        let answer = http::request(address, "POST", "/", &[("Herald-Signature", forged)], body).await;
        assert_eq!(answer.status, 401, "{forged}");
    }
    let table = format!("[[webhooks]]\nname = \"example\"\nurl = \"http://{address}/\"\nsecrets = [\"{SECRET}\"]\n");
    let file = file(&table);
    let mut gateway = dev_gateway_with(&["--config", file.path().to_str().unwrap()]).await;
    gateway.files.push(file);
    Client::dev(gateway.public(), "bob").await.close().await;
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "offline") {
        let event = next().await;
        assert_eq!(event["user"], "bob", "{event}");
        kinds.push(event["kind"].as_str().unwrap().to_owned());
    }
    kinds.sort_unstable();
    assert_eq!(kinds, ["connected", "disconnected", "offline", "online"]);
}
