//! `herald-loadtest` as a process, and servers for it that are no Herald.

use std::{collections::BTreeSet, net::SocketAddr, os::unix::process::ExitStatusExt, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
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

/// A run that goes on.
pub struct Running {
    child: Child,
    folder: TempDir,
}

/// Runs the load test with these arguments, without rest where the test asks for none.
pub async fn run(arguments: &[&str]) -> Report {
    start(arguments).report().await
}

pub fn start(arguments: &[&str]) -> Running {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(binary("herald-loadtest"));
    command.args(arguments).arg("--quiet");
    for (option, file) in [("--out", "run.json"), ("--html", "run.html")] {
        if !arguments.contains(&option) {
            command.arg(option).arg(folder.path().join(file));
        }
    }
    if !arguments.contains(&"--settle") && arguments[0] != "http" {
        command.args(["--settle", "300ms"]);
    }
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the load test starts");
    Running { child, folder }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Its worker processes.
    pub fn workers(&self) -> Vec<u32> {
        let id = self.id();
        // Whichever of its threads started them.
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
        let of_tasks = tasks.flatten().map(|task| task.path().join("children"));
        let all = of_tasks.filter_map(|file| std::fs::read_to_string(file).ok());
        let text = all.collect::<Vec<_>>().join(" ");
        let ids: BTreeSet<u32> = text.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        ids.into_iter().collect()
    }

    pub fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    pub async fn report(self) -> Report {
        let output = self.child.wait_with_output().await.expect("it ends");
        let words = [output.stdout, output.stderr].concat();
        let json = std::fs::read(self.folder.path().join("run.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Report {
            // As shells have it, where a signal has ended it.
            code: output
                .status
                .code()
                .unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            text: String::from_utf8_lossy(&words).into_owned(),
            json: json.unwrap_or_default(),
            folder: self.folder,
        }
    }
}

pub fn send(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).expect("a process id"));
    kill_process(id.expect("a process id"), signal).expect("the signal is delivered");
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
