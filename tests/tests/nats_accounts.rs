//! NATS with the accounts of `deploy/nats/accounts.conf`: each role can do its work, and nothing that it does not need.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures_util::StreamExt;
use herald_tests::{
    client::{Client, Upgrade},
    deployed::Deployed,
    eventually,
    http::{self, Kept},
    short,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
};

/// What the servers have written about something that was not allowed.
fn violations(cluster: &Deployed) -> Vec<String> {
    let log = cluster.nats_log();
    let lines = log.lines().filter(|line| line.to_lowercase().contains("violation"));
    // Servers that have not read their routes yet refuse each other for a moment.
    lines
        .filter(|line| !line.contains("Route Error"))
        .map(str::to_owned)
        .collect()
}

/// A team's backend: logs everybody in, and gives back what it is asked. It knows NATS and its own account, and nothing else.
async fn backend(cluster: &Deployed) -> JoinHandle<()> {
    let nats = cluster.nats("backend").await;
    let mut requests = nats.subscribe("herald.svc.>").await.unwrap();
    nats.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.clone().expect("a question");
            let user = request.headers.as_ref().and_then(|headers| headers.get("Herald-User"));
            let answer = match request.subject.as_str() {
                "herald.svc.auth" => json!({"user": "1001", "account": "zbj"}).to_string().into(),
                "herald.svc.echo.who" => json!(user.map(ToString::to_string)).to_string().into(),
                _ => request.payload,
            };
            nats.publish(reply, answer).await.unwrap();
        }
    })
}

#[tokio::test]
async fn each_role_can_do_all_its_work() {
    let cluster = Deployed::start().await;
    let backend = backend(&cluster).await;
    let public = cluster.address("public");
    let mut alice = cluster.client("alice").await;
    let mut bob = cluster.client("bob").await;

    // One-to-one, groups, ephemeral and durable, presence and watches.
    alice.say(json!({"user": "bob"}), json!(1)).await;
    assert_eq!(bob.next_message().await["body"], 1);
    alice.join("lobby").await;
    bob.join("lobby").await;
    alice.say(json!({"group": "lobby"}), json!(2)).await;
    assert_eq!(bob.next_message().await["body"], 2);
    let ephemeral = json!({"send": {"to": {"user": "bob"}, "body": 3, "durable": false}});
    alice.ask(ephemeral, "sent").await;
    assert_eq!(bob.next_message().await["body"], 3);
    let history = json!({"history": {"of": {"group": "lobby"}, "limit": 5}});
    assert_eq!(alice.ask(history, "history").await["messages"][0]["body"], 2);
    alice.ask(json!({"watch": {"users": ["bob"]}}), "watching").await;

    // Resume; and the watch has seen him go and come.
    let cursor = bob.next("cursor").await.as_str().unwrap().to_owned();
    bob.close().await;
    let gone = loop {
        let change = alice.next("presence").await;
        if change["online"] == false {
            break change;
        }
    };
    assert_eq!(gone["user"], "bob");
    alice.say(json!({"user": "bob"}), json!("while away")).await;
    let upgrade = Upgrade::to(public).query("token", &cluster.token("bob"));
    let mut bob = upgrade.query("cursor", &cursor).connect().await;
    assert_eq!(bob.connected["resumed"], true);
    assert_eq!(bob.next_message().await["body"], "while away");
    assert_eq!(alice.next("presence").await["online"], true);

    // A call, and a session over HTTP that a backend in the other account lets in.
    let call = json!({"call": {"service": "echo", "method": "any", "body": [1, 2]}});
    assert_eq!(alice.ask(call, "result").await["body"], json!([1, 2]));
    // Who asks is told across the accounts.
    let call = json!({"call": {"service": "echo", "method": "who", "body": 1}});
    assert_eq!(alice.ask(call, "result").await["body"], "alice");
    let missing = json!({"call": {"service": "auth", "body": 1}});
    assert_eq!(alice.refused(missing).await, "not_found");
    let token = short::logged_in(public, "zbj").await;
    let token = short::refreshed(public, &token).await;
    let logout = short::post(public, "/logout", &token, b"").await;
    assert_eq!(logout.status, 200, "{logout:?}");
    // Nobody there is told at once, through the import too.
    backend.abort();
    let _ended = backend.await;
    eventually("nobody serves any more", async || {
        let call = json!({"call": {"service": "echo", "method": "any", "body": 1}});
        alice.command(call).await["error"]["code"] == "unavailable"
    })
    .await;

    // The server API: messages, a user's connections, the kick.
    let key = cluster.secret("api-key");
    let admin = cluster.address("gateway-2-admin");
    let sent = http::post(
        admin,
        "/api/v1/messages",
        &key,
        &json!({"to": {"users": ["alice"]}, "body": "noon"}),
    )
    .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    // Her own words to the lobby come to her too.
    while alice.next_message().await["body"] != "noon" {}
    kick(&cluster, "alice").await;
    assert_eq!(alice.closed().await, 4102);
    leave_and_come(&mut bob).await;

    // Sweeps, beats, leases and the routers' upkeep: some rounds of all of them.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(violations(&cluster), Vec::<String>::new());
}

async fn kick(cluster: &Deployed, user: &str) {
    let bearer = format!("Bearer {}", cluster.secret("api-key"));
    let path = format!("/api/v1/users/{user}/connections");
    let admin = cluster.address("gateway-1-admin");
    let kicked = http::request(admin, "DELETE", &path, &[("Authorization", &bearer)], b"").await;
    assert_eq!(kicked.status, 200, "{kicked:?}");
}

/// Other words between routers and gateways than joining takes.
async fn leave_and_come(client: &mut Client) {
    client.ask(json!({"leave": {"group": "lobby"}}), "left").await;
    client.join("lobby").await;
}

/// A NATS connection that speaks the protocol itself, so that every refusal is heard.
struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    async fn login(cluster: &Deployed, user: &str, password: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(cluster.address("nats-1")).await.unwrap();
        let mut raw = Self {
            stream: BufReader::new(stream),
        };
        assert!(raw.line().await.starts_with("INFO"));
        let options = json!({"verbose": false, "user": user, "pass": password, "headers": true, "no_responders": true});
        match raw.ask(&format!("CONNECT {options}\r\n")).await {
            said if said.is_empty() => Ok(raw),
            refused => Err(refused),
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    /// What the server says to it; empty where it says nothing.
    async fn ask(&mut self, command: &str) -> String {
        let command = format!("{command}PING\r\n");
        self.stream.get_mut().write_all(command.as_bytes()).await.unwrap();
        let mut said = String::new();
        loop {
            let line = self.line().await;
            if line == "PONG" || line.is_empty() {
                return said;
            }
            if line == "PING" {
                self.stream.get_mut().write_all(b"PONG\r\n").await.unwrap();
            } else if line.starts_with("-ERR") {
                said = line;
            }
        }
    }

    async fn may_publish(&mut self, subject: &str) -> bool {
        self.may(&format!("PUB {subject} 2\r\n{{}}\r\n")).await
    }

    async fn may_subscribe(&mut self, subject: &str) -> bool {
        self.may(&format!("SUB {subject} 7\r\n")).await
    }

    async fn may(&mut self, command: &str) -> bool {
        let said = self.ask(command).await;
        let refused = said.starts_with("-ERR 'Permissions Violation");
        assert!(refused || said.is_empty(), "{said} to {command}");
        !refused
    }
}

/// What each may and may not: the first of each list shows that the question itself is good.
const PUBLISH: [(&str, &[&str], &[&str]); 4] = [
    (
        "gateway",
        &[
            "herald.cmd.nothing",
            "herald.svc.nobody",
            "$JS.API.STREAM.INFO.herald_LOG_0",
        ],
        &[
            // Nothing is written to the log, and nothing said live, but by routers.
            "herald.log.0.user.bob",
            "herald.live.user.bob",
            "herald.sync.nudge",
            "$JS.API.STREAM.DELETE.herald_LOG_0",
            "$JS.API.STREAM.PURGE.herald_LOG_0",
            "$JS.API.STREAM.UPDATE.herald_LOG_0",
            "$JS.API.STREAM.CREATE.other",
            "$JS.API.STREAM.MSG.DELETE.herald_LOG_0",
            "$JS.API.STREAM.DELETE.KV_herald_PRESENCE",
            "$JS.API.CONSUMER.CREATE.herald_LOG_0",
            "$JS.API.CONSUMER.CREATE.KV_herald_GROUPS",
            "$KV.herald_GROUPS.lobby.bob",
            "$KV.herald_REVOKED.bob",
            "_INBOX.somebody.1",
            "anything",
        ],
    ),
    (
        "router",
        &["herald.sync.nothing", "$JS.API.STREAM.INFO.herald_LOG_0"],
        &[
            "$JS.API.STREAM.DELETE.herald_LOG_0",
            "$JS.API.STREAM.MSG.DELETE.herald_LOG_0",
            "$JS.API.STREAM.DELETE.KV_herald_GROUPS",
            "herald.cmd.send",
            // In the application's name nobody speaks to its backends but gateways.
            "herald.svc.auth",
            "_INBOX.somebody.1",
            "anything",
        ],
    ),
    (
        "backend",
        &[],
        &[
            "herald.svc.auth",
            "herald.cmd.send",
            "herald.live.user.bob",
            "herald.log.0.user.bob",
            "$JS.API.STREAM.INFO.herald_LOG_0",
            "$JS.API.DIRECT.GET.herald_LOG_0",
            "$KV.herald_SESSIONS.bob.1",
            "_INBOX.somebody.1",
        ],
    ),
    (
        "monitor",
        &["$SYS.REQ.SERVER.PING.VARZ"],
        &[
            "$SYS.REQ.SERVER.PING.RELOAD",
            "$SYS.REQ.SERVER.AAAA.RELOAD",
            "$SYS.REQ.SERVER.AAAA.KICK",
            "$SYS.REQ.ACCOUNT.HERALD.CONNZ",
            "herald.cmd.send",
        ],
    ),
];

const SUBSCRIBE: [(&str, &[&str], &[&str]); 4] = [
    (
        "gateway",
        &["herald.live.user.bob"],
        &["herald.cmd.*", "herald.log.0.>", "herald.svc.>", ">", "$KV.>", "$JS.>"],
    ),
    (
        "router",
        &["herald.sync.left"],
        &["herald.svc.>", "herald.live.>", ">", "$JS.>"],
    ),
    (
        "backend",
        &["herald.svc.auth", "$SRV.PING"],
        // The first two would be others' answers, with messages in them, and others' messages.
        &[
            "_INBOX.>",
            "herald.live.>",
            "herald.log.>",
            "herald.cmd.*",
            "$KV.>",
            ">",
        ],
    ),
    ("monitor", &["_INBOX.x.*"], &["herald.>", "$SYS.>", ">"]),
];

#[tokio::test]
async fn nobody_can_do_what_he_does_not_need() {
    let cluster = Deployed::start().await;
    for (user, yes, no) in PUBLISH {
        let mut raw = Raw::login(&cluster, user, &cluster.secret(user)).await.unwrap();
        for subject in yes {
            assert!(raw.may_publish(subject).await, "{user} cannot publish {subject}");
        }
        for subject in no {
            assert!(!raw.may_publish(subject).await, "{user} can publish {subject}");
        }
    }
    for (user, yes, no) in SUBSCRIBE {
        let mut raw = Raw::login(&cluster, user, &cluster.secret(user)).await.unwrap();
        for subject in yes {
            assert!(raw.may_subscribe(subject).await, "{user} cannot subscribe {subject}");
        }
        for subject in no {
            assert!(!raw.may_subscribe(subject).await, "{user} can subscribe {subject}");
        }
    }
    for (user, password) in [("gateway", "wrong"), ("", ""), ("nobody", ""), ("gateway", "")] {
        assert!(
            Raw::login(&cluster, user, password).await.is_err(),
            "{user} came in with {password:?}"
        );
    }
}

/// A backend that listens to all that its account can see, gets requests to it and nothing else, while others talk.
#[tokio::test]
async fn a_backend_sees_requests_and_no_messages() {
    let cluster = Deployed::start().await;
    let spy = cluster.nats("backend").await;
    let mut heard = spy.subscribe("herald.svc.>").await.unwrap();
    spy.flush().await.unwrap();
    let mut alice = cluster.client("alice").await;
    let mut bob = cluster.client("bob").await;
    for n in 0..20 {
        alice.say(json!({"user": "bob"}), json!({"secret": n})).await;
        bob.next_message().await;
    }
    let mut kept = Kept::to(cluster.address("public")).await;
    let login = short::envelope(short::REQ_LOGIN, &short::login_request("zbj", "x"));
    let asked = async {
        let request = heard.next().await.unwrap();
        assert_eq!(request.subject.as_str(), "herald.svc.auth");
        let answer: Value = json!({"user": "1001"});
        spy.publish(request.reply.unwrap(), answer.to_string().into())
            .await
            .unwrap();
        spy.flush().await.unwrap();
    };
    let ((), answer) = tokio::join!(asked, kept.post("/login", "", &login));
    assert_eq!(answer.status, 200, "{answer:?}");
    let more = tokio::time::timeout(Duration::from_millis(300), heard.next()).await;
    assert!(more.is_err(), "{more:?}");
}
