//! Clients that others have written, in Python, each with packages of its own in a virtual environment below target/.

use std::{path::PathBuf, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::OnceCell,
    time::timeout,
};

use crate::PATIENCE;

/// What the scripts need, in versions that were tried.
const PACKAGES: [&str; 2] = ["httpx==0.28.1", "httpx-sse==0.4.3"];

/// A running script of tests/foreign. Killed when dropped.
pub struct Foreign {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Foreign {
    pub async fn start(script: &str, arguments: &[&str]) -> Self {
        static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
        let python = PYTHON.get_or_init(python).await;
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("foreign").join(script);
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("piped");
        Self {
            _child: child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// The next line, as JSON; None where the script has ended.
    pub async fn next(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("nothing came for half a minute").expect("a line")?;
        Some(serde_json::from_str(&line).expect("JSON"))
    }
}

async fn python() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/foreign");
    let python = own.join("bin/python");
    // Made once, and again where something of it is missing.
    let check = Command::new(&python).args(["-c", "import httpx, httpx_sse"]).status();
    if !check.await.is_ok_and(|status| status.success()) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&own)).await;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PACKAGES))
        .await;
    }
    python
}

async fn run(command: &mut Command) {
    let shown = format!("{command:?}");
    let status = command.status().await;
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{shown}: {status:?}"
    );
}
