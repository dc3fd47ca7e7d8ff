//! curl, a client of HTTP/2 that has nothing of this server's.

use std::{net::SocketAddr, path::PathBuf, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{PATIENCE, http};

pub struct Curl {
    address: SocketAddr,
    root: PathBuf,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// As curl tells it: `1.1` or `2`.
    pub version: String,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.head, name)
    }
}

impl Curl {
    /// Trusts the certificate in the file `root`.
    pub fn new(address: SocketAddr, root: PathBuf) -> Self {
        Self { address, root }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--no-buffer",
            "--max-time",
            "60",
            "--cacert",
        ])
        .arg(&self.root)
        .arg("--resolve")
        .arg(format!("localhost:{}:{}", self.address.port(), self.address.ip()))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
        curl
    }

    /// What curl writes in the end, be it good or not.
    pub async fn run(&self, arguments: &[&str]) -> std::process::Output {
        let output = timeout(PATIENCE, self.command(arguments).output()).await;
        output
            .expect("curl ends")
            .expect("CURL IS MISSING: tests/install-tools installs it")
    }

    /// One request that must be answered; `--http2` or `--http1.1` stands among the arguments, or curl decides.
    pub async fn ask(&self, path: &str, arguments: &[&str]) -> Answer {
        let url = self.url(path);
        let more = ["--include", "--write-out", "\n%{http_code} %{http_version}", &url];
        let output = self.run(&[arguments, &more].concat()).await;
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let (answer, end) = text
            .rsplit_once('\n')
            .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let (status, version) = end.split_once(' ').expect("status and version");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        Answer {
            status: status.parse().expect("a status"),
            version: version.to_owned(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub async fn post(&self, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        self.ask(path, &["--http2", "--header", &bearer, "--data-binary", body])
            .await
    }

    /// An answer that goes on.
    pub fn stream(&self, path: &str, arguments: &[&str]) -> Stream {
        let url = self.url(path);
        let mut child = self
            .command(&[arguments, &[url.as_str()]].concat())
            .spawn()
            .expect("CURL IS MISSING: tests/install-tools installs it");
        let stdout = child.stdout.take().expect("piped");
        Stream {
            _child: child,
            lines: BufReader::new(stdout).lines(),
        }
    }
}

pub struct Stream {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Stream {
    pub async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("nothing came for half a minute").expect("UTF-8")
    }

    /// The data of the next event of this name; others are passed over.
    pub async fn event(&mut self, name: &str) -> Value {
        let wanted = format!("event: {name}");
        while self.line().await.expect("the stream goes on") != wanted {}
        loop {
            let line = self.line().await.expect("the stream goes on");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }
}
