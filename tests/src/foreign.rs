//! Clients that others have written, in Python.

use std::{env, path::PathBuf, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::PATIENCE;

/// A running script of tests/foreign. Killed when dropped.
pub struct Foreign {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Foreign {
    pub fn start(script: &str, arguments: &[&str]) -> Self {
        let python = env::var_os("NATS_PYTHON");
        let python =
            python.expect("NATS_PYTHON names a Python with the packages: run tests/run, or see tests/find-python");
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
