//! Backends that are programs of their own: the examples, and what only another language's client does.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Killed when dropped.
pub struct Program(Child);

impl Program {
    /// A script of this repository, run by the Python that has nats-py. Returns once it serves.
    pub fn python<S: AsRef<OsStr>>(script: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let python = env::var_os("NATS_PYTHON");
        let python = python.expect("NATS_PYTHON names a Python with nats-py: run tests/run, or see tests/find-python");
        Self::start(Command::new(python).arg(repository().join(script)).args(arguments))
    }

    /// An example of this package.
    pub fn example<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let me = env::current_exe().expect("the test's own path");
        let path = me.ancestors().nth(2).expect("beside deps").join("examples").join(name);
        Self::start(Command::new(path).args(arguments))
    }

    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut program = Self(child.unwrap_or_else(|e| panic!("{command:?} does not start: {e}")));
        let stdout = program.0.stdout.take().expect("piped");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        assert!(
            read.is_ok() && line.trim() == "serving",
            "{command:?} does not serve: {line:?}"
        );
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
