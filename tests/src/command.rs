//! Commands: runs of a binary that are expected to end by themselves.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Seek, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::NamedTempFile;

use crate::{PATIENCE, process::binary};

/// What a command that is expected to end came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a binary to its end. One that goes on for longer than anybody waits is killed; then `code` is None.
pub fn run<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Outcome {
    run_with(name, arguments, &[])
}

pub fn run_with<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
    environment: &[(&str, &str)],
) -> Outcome {
    let (out, err) = (NamedTempFile::new(), NamedTempFile::new());
    let (out, err) = (out.expect("a file for stdout"), err.expect("a file for stderr"));
    let mut child = Command::new(binary(name))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(out.reopen().expect("the file again"))
        .stderr(err.reopen().expect("the file again"))
        .spawn()
        .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
    let end = Instant::now() + PATIENCE;
    let code = loop {
        match child.try_wait().expect("the child's state") {
            Some(status) => break status.code(),
            None if Instant::now() < end => thread::sleep(Duration::from_millis(10)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    Outcome {
        code,
        stdout: read(out.as_file()),
        stderr: read(err.as_file()),
    }
}

fn read(mut file: &File) -> String {
    let mut text = String::new();
    file.rewind().expect("a file can be rewound");
    file.read_to_string(&mut text).expect("UTF-8");
    text
}

/// `herald-gateway hash`, with the password piped in.
pub fn hash(password: &str) -> String {
    let mut input = tempfile::tempfile().expect("a file for the password");
    writeln!(input, "{password}").expect("room for it");
    input.rewind().expect("a file can be rewound");
    let output = Command::new(binary("herald-gateway")).arg("hash").stdin(input).output();
    let output = output.expect("herald-gateway starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
