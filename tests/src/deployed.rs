//! The cluster that `deploy/up` starts, in a folder and on ports of its own: what an operator gets, with the accounts, the
//! haproxy and the Prometheus that are deployed.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    client::{Client, Dialect},
    process::binary,
    token,
};

/// Brought down when dropped.
pub struct Deployed {
    state: TempDir,
    ports: HashMap<String, u16>,
}

/// The repository's `deploy/`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

impl Deployed {
    pub async fn start() -> Self {
        let state = tempfile::Builder::new().prefix("herald-up-").tempdir();
        let mut cluster = Self {
            state: state.expect("a folder"),
            ports: HashMap::new(),
        };
        let arguments = ["--free-ports", "--drain", "2", "--scrape", "1"];
        let mut up = cluster.run("up", &arguments).await;
        for _ in 0..2 {
            if up.status.success() {
                break;
            }
            // Somebody took a port between the look at it and its use.
            let down = cluster.run("down", &["--purge"]).await;
            assert!(down.status.success(), "{}", told(&down));
            up = cluster.run("up", &arguments).await;
        }
        assert!(up.status.success(), "{}", told(&up));
        let plan: Value = serde_json::from_str(&cluster.read("cluster.json")).expect("JSON");
        cluster.ports = serde_json::from_value(plan["ports"].clone()).expect("ports by role");
        cluster
    }

    /// Runs one of `deploy/`'s commands on this cluster.
    pub async fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let mut program = Command::new(folder().join(command));
        program.arg("--state").arg(self.state.path()).args(arguments);
        if matches!(command, "up" | "restart") {
            let gateway = binary("herald-gateway");
            program.arg("--bin-dir").arg(gateway.parent().expect("a folder"));
        }
        program.output().await.expect("python3 is there")
    }

    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// A file of the cluster's state.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.state.path().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn secret(&self, name: &str) -> String {
        self.read(&format!("secrets/{name}"))
    }

    /// Of a role of `deploy/local/plan.py`.
    pub fn address(&self, role: &str) -> SocketAddr {
        let port = self.ports.get(role).unwrap_or_else(|| panic!("no role {role}"));
        SocketAddr::from(([127, 0, 0, 1], *port))
    }

    /// The id of a part's process.
    pub fn pid(&self, part: &str) -> u32 {
        let note = self.read(&format!("run/{part}.pid"));
        note.split(' ').next().and_then(|pid| pid.parse().ok()).expect("an id")
    }

    pub fn token(&self, user: &str) -> String {
        token::hs256(&self.secret("token"), &token::claims(user))
    }

    /// A client that comes by haproxy.
    pub async fn client(&self, user: &str) -> Client {
        Client::with_token(self.address("public"), Dialect::Json, &self.token(user)).await
    }

    /// NATS as one of its users.
    pub async fn nats(&self, user: &str) -> async_nats::Client {
        let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), self.secret(user));
        let connected = options.connect(self.address("nats-1").to_string()).await;
        connected.expect("NATS lets it in")
    }

    /// What all three NATS servers have written.
    pub fn nats_log(&self) -> String {
        (1..=3).map(|i| self.read(&format!("run/nats-{i}.log"))).collect()
    }
}

pub fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr))
}

impl Drop for Deployed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["router-1", "gateway-1", "gateway-2", "nats-1"] {
                let text = std::fs::read_to_string(self.state.path().join(format!("run/{log}.log")));
                let text = text.unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = &lines[lines.len().saturating_sub(20)..];
                eprintln!("--- log of {log} ---\n{}", tail.join("\n"));
            }
        }
        let down = std::process::Command::new(folder().join("down"))
            .arg("--state")
            .arg(self.state.path())
            .output();
        match down {
            Ok(down) if down.status.success() => {}
            failed => eprintln!("deploy/down: {failed:?}"),
        }
    }
}
