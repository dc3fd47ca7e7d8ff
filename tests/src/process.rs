//! Herald's binaries as child processes: started on free ports, watched, and gone when the test is.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::{PATIENCE, eventually, http, namespace::Namespace};

/// Where a binary of the workspace lies: in `HERALD_BIN_DIR`, else beside the running test's `deps` folder.
pub fn binary(name: &str) -> PathBuf {
    if let Some(folder) = env::var_os("HERALD_BIN_DIR") {
        return PathBuf::from(folder).join(name);
    }
    let me = env::current_exe().expect("the test's own path");
    me.ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not built: run tests/run, or `cargo build` with the same profile"))
}

/// A line `listening <kind> <address>` of a node's output.
fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let (kind, address) = line.strip_prefix("listening ")?.split_once(' ')?;
    Some((kind.to_owned(), address.trim().parse().ok()?))
}

/// A running `herald-gateway` or `herald-router`. Killed when dropped; its log is printed if the test is failing.
pub struct Node {
    name: String,
    child: Child,
    listeners: Arc<Mutex<Vec<(String, SocketAddr)>>>,
    log: NamedTempFile,
    /// Configuration files and the like, which live as long as the node.
    pub files: Vec<NamedTempFile>,
}

impl Node {
    /// Starts the process and waits for nothing.
    pub fn spawn<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(binary(name));
        command.args(arguments);
        Self::spawn_as(name, command)
    }

    /// The same inside a network namespace.
    pub fn spawn_in<S: AsRef<OsStr>>(space: &Namespace, name: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new("ip");
        // Becomes the binary, under the same process id.
        command
            .args(["netns", "exec", &space.name])
            .arg(binary(name))
            .args(arguments);
        Self::spawn_as(name, command)
    }

    fn spawn_as(name: &str, mut command: Command) -> Self {
        let log = NamedTempFile::new().expect("a file for the log");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.reopen().expect("the log file again"))
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let listeners = Arc::default();
        let stdout = child.stdout.take().expect("piped");
        note_listeners(stdout, Arc::clone(&listeners));
        Self {
            name: name.to_owned(),
            child,
            listeners,
            log,
            files: Vec::new(),
        }
    }

    /// Starts the process and waits until it listens and calls itself ready.
    pub async fn start<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut node = Self::spawn(name, arguments);
        node.ready().await;
        node
    }

    pub async fn ready(&mut self) {
        self.listens("admin").await;
        let admin = self.admin();
        eventually("the node is ready", async || {
            http::get(admin, "/health/ready").await.status == 200
        })
        .await;
    }

    /// Waits for the line that names the listener; the node must live meanwhile.
    pub async fn listens(&mut self, kind: &str) {
        let end = Instant::now() + PATIENCE;
        while self.find(kind).is_none() {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            assert!(Instant::now() < end, "{} names no {kind} listener", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn find(&self, kind: &str) -> Option<SocketAddr> {
        let listeners = self.listeners.lock().expect("never poisoned");
        listeners.iter().find(|(k, _)| k == kind).map(|(_, address)| *address)
    }

    pub fn public(&self) -> SocketAddr {
        self.find("public").expect("a public listener")
    }

    pub fn admin(&self) -> SocketAddr {
        self.find("admin").expect("an admin listener")
    }

    pub fn listeners(&self) -> usize {
        self.listeners.lock().expect("never poisoned").len()
    }

    /// The addresses of all listeners of one kind.
    pub fn all(&self, kind: &str) -> Vec<SocketAddr> {
        let listeners = self.listeners.lock().expect("never poisoned");
        let of_kind = listeners.iter().filter(|(k, _)| k == kind);
        of_kind.map(|(_, address)| *address).collect()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that the node has written to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("the signal is delivered");
    }

    /// SIGTERM: asks for a drain.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// kill -9, and the process is gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is killed");
        self.child.wait().expect("the child is reaped");
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().expect("the child's state").is_none()
    }

    pub async fn exit(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                return status;
            }
            assert!(Instant::now() < end, "{} does not end", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- log of {} {} ---\n{}", self.name, self.child.id(), tail.join("\n"));
        }
    }
}

/// Reads the child's output to its end, so that it never blocks on a full pipe.
fn note_listeners(stdout: ChildStdout, listeners: Arc<Mutex<Vec<(String, SocketAddr)>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(found) = listening(&line) {
                listeners.lock().expect("never poisoned").push(found);
            }
        }
    });
}
