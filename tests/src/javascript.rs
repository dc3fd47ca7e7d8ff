//! The tests under gateway/web/tests, in JavaScript: run by Node against servers that a test in Rust has started.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::http::DEV_API_KEY;

/// For a whole file of tests.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a Node of version 20 needs to have WebSockets; newer ones take it as well.
pub const WITH_WEBSOCKETS: &[&str] = &["--experimental-websocket"];

pub fn folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    workspace.join("gateway/web/tests")
}

/// Node, in `$NODE` or on the path; tests/find-node finds or installs one.
fn node() -> Command {
    Command::new(env::var_os("NODE").unwrap_or_else(|| "node".into()))
}

/// A file of tests under way. Killed when dropped.
pub struct Tests {
    file: String,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    told: Vec<String>,
}

impl Tests {
    /// `file` lies in the folder of the tests; `servers` are its environment.
    pub fn start(flags: &[&str], file: &str, servers: &[(&str, String)]) -> Self {
        let mut child = node()
            .args(flags)
            .args(["--no-warnings", "--test-reporter=tap"])
            .arg(folder().join(file))
            .envs(servers.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("NODE IS MISSING: tests/find-node finds or installs it, and tests/run names it in NODE");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self {
            file: file.to_owned(),
            child,
            input,
            output,
            told: Vec::new(),
        }
    }

    /// What it wants done next; None where it has come to its end.
    pub async fn asked(&mut self) -> Option<String> {
        loop {
            let line = timeout(PATIENCE, self.output.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{} does not end:\n{}", self.file, self.told.join("\n")));
            let line = line.expect("a line")?;
            if let Some(what) = line.strip_prefix("ask: ") {
                return Some(what.to_owned());
            }
            self.told.push(line);
        }
    }

    pub async fn done(&mut self) {
        self.input.write_all(b"done\n").await.expect("the tests read");
    }

    /// Waits for the end, and fails unless every test has passed, with at least one.
    pub async fn pass(mut self) {
        let more = self.asked().await;
        assert_eq!(more, None, "{}", self.file);
        drop(self.input);
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends");
        let told = self.told.join("\n");
        assert!(status.expect("it is reaped").success(), "{}:\n{told}", self.file);
        let count = |what: &str| {
            let counted = self.told.iter().filter_map(|line| line.strip_prefix(what));
            counted
                .filter_map(|count| count.trim().parse::<u32>().ok())
                .sum::<u32>()
        };
        assert!(count("# pass") > 0 && count("# fail") == 0, "{}:\n{told}", self.file);
        for line in self.told.iter().filter(|line| line.starts_with("told: ")) {
            eprintln!("{}: {line}", self.file);
        }
    }
}

/// The environment that names servers to the tests.
pub fn servers(public: SocketAddr, admin: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("HERALD_PUBLIC", public.to_string()),
        ("HERALD_ADMIN", admin.to_string()),
        ("HERALD_API_KEY", DEV_API_KEY.to_owned()),
    ]
}
