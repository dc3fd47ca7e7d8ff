//! `herald-loadtest` as a process, and servers for it that are no Herald.

use std::{net::SocketAddr, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::process::{Node, binary};

mod unreliable;

pub use unreliable::{Fault, Unreliable};

/// What a run has left.
pub struct Report {
    pub code: i32,
    /// All that it printed.
    pub text: String,
    /// Null where it wrote none.
    pub json: Value,
    folder: TempDir,
}

/// Runs the load test with these arguments, without rest where the test asks for none.
pub async fn run(arguments: &[&str]) -> Report {
    let folder = TempDir::new().expect("a temporary folder");
    let (out, page) = (folder.path().join("run.json"), folder.path().join("run.html"));
    let mut command = Command::new(binary("herald-loadtest"));
    command
        .args(arguments)
        .arg("--quiet")
        .arg("--out")
        .arg(&out)
        .arg("--html")
        .arg(&page);
    if !arguments.contains(&"--settle") && arguments[0] != "http" {
        command.args(["--settle", "300ms"]);
    }
    let output = command.kill_on_drop(true).output().await.expect("the load test starts");
    let words = [output.stdout, output.stderr].concat();
    let json = std::fs::read(&out)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    Report {
        code: output.status.code().expect("it ends by itself"),
        text: String::from_utf8_lossy(&words).into_owned(),
        json: json.unwrap_or_default(),
        folder,
    }
}

impl Report {
    pub fn page(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("run.html")).expect("a page")
    }

    /// What `compare` prints of this run and another.
    pub async fn compared_with(&self, other: &Self) -> String {
        let file = |report: &Self| report.folder.path().join("run.json");
        let mut command = Command::new(binary("herald-loadtest"));
        let output = command
            .arg("compare")
            .arg(file(self))
            .arg(file(other))
            .output()
            .await
            .expect("it starts");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// The arguments that name a gateway.
pub fn against(gateway: &Node) -> Vec<String> {
    let (public, admin, id) = (gateway.public(), gateway.admin(), gateway.id());
    let named = [
        ("--url", format!("ws://{public}/ws")),
        ("--api", format!("http://{admin}")),
        ("--pid", id.to_string()),
    ];
    named
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
}

/// `herald-loadtest floor` on a free port.
pub struct Floor {
    pub address: SocketAddr,
    /// Ends with this.
    _child: Child,
}

impl Floor {
    pub async fn start() -> Self {
        let mut child = Command::new(binary("herald-loadtest"))
            .args(["floor", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the floor starts");
        let stdout = child.stdout.take().expect("piped");
        let line = BufReader::new(stdout)
            .lines()
            .next_line()
            .await
            .expect("a pipe")
            .expect("a line");
        let address = line.strip_prefix("listening public ").expect("an address");
        Self {
            address: address.parse().expect("an address"),
            _child: child,
        }
    }
}
