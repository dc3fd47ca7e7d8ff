//! Programs in Go under `tests/go`: the reference articles' clients, driven line by line.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::PATIENCE;

/// Where Debian keeps Go's libraries.
const LIBRARIES: &str = "/usr/share/gocode";

/// The program, built once for each test process; Go itself knows what is up to date.
pub fn build(program: &'static str) -> PathBuf {
    static ONE_AT_A_TIME: OnceLock<std::sync::Mutex<()>> = OnceLock::new();
    let turn = ONE_AT_A_TIME.get_or_init(Default::default).lock();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = tests.parent().expect("the workspace").join("target").join("go");
    let binary = target.join(format!("{program}-{}", std::process::id()));
    let output = std::process::Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(program)
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPATH", format!("{}:{LIBRARIES}", tests.join("go").display()))
        .env("GOCACHE", target.join("cache"))
        .output()
        .expect("GO IS MISSING: tests/install-tools installs it (Debian's golang-go), and CI has it");
    drop(turn);
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    binary
}

/// A running program that answers each line with a line.
pub struct Program {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// `HERALD` names the gateway.
    pub fn start(binary: &Path, herald: SocketAddr) -> Self {
        let mut child = Command::new(binary)
            .env("HERALD", herald.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, input, output }
    }

    pub async fn ask(&mut self, line: &str) -> String {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.expect("the program reads");
        let answer = timeout(PATIENCE, self.output.next_line()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {line}"));
        answer.expect("the program writes").expect("the program goes on")
    }

    /// Ends its input, and waits for its end.
    pub async fn end(mut self) {
        drop(self.input);
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the program ends");
        assert!(status.expect("it is reaped").success());
    }
}
