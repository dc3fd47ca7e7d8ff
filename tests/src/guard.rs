//! A service that decides, behind HTTP: each test says how.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// What it answers.
#[derive(Debug, Clone)]
pub enum Decides {
    With(Value),
    /// With this status and text.
    Fails(u16, &'static str),
    Hangs,
    /// The connection ends.
    BreaksOff,
}

type Decide = Box<dyn Fn(&str, &Value) -> Decides + Send + Sync>;

pub struct Guard {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    task: JoinHandle<()>,
}

impl Guard {
    /// `decide` is given the method and the question.
    pub async fn start(decide: impl Fn(&str, &Value) -> Decides + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::<Mutex<Vec<(String, Value)>>>::default();
        let (noted, decide): (_, Arc<Decide>) = (asked.clone(), Arc::new(Box::new(decide)));
        let task = tokio::spawn(async move {
            // They end with the guard.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, decide) = (noted.clone(), decide.clone());
                connections.spawn(async move {
                    // It may be broken off at any time.
                    let _ = connection(stream, &noted, &decide).await;
                });
            }
        });
        Self { address, asked, task }
    }

    /// Its `[services.guard]`.
    pub fn table(&self) -> String {
        format!("[services.guard]\nurl = \"http://{}/hooks\"\n", self.address)
    }

    /// What it was asked by this method.
    pub fn asked(&self, method: &str) -> Vec<Value> {
        let asked = self.asked.lock().expect("never poisoned");
        let of = asked.iter().filter(|(name, _)| name == method);
        of.map(|(_, question)| question.clone()).collect()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(stream: TcpStream, asked: &Mutex<Vec<(String, Value)>>, decide: &Decide) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).expect("a path").to_owned();
        let method = path.strip_prefix("/hooks/").expect("a method").to_owned();
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let question: Value = serde_json::from_slice(&body).expect("JSON");
        let decides = decide(&method, &question);
        asked.lock().expect("never poisoned").push((method, question));
        let (status, text) = match decides {
            Decides::With(verdict) => (200, verdict.to_string()),
            Decides::Fails(status, text) => (status, text.to_owned()),
            Decides::Hangs => std::future::pending().await,
            Decides::BreaksOff => return Ok(()),
        };
        let length = text.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{text}");
        stream.write_all(answer.as_bytes()).await?;
    }
}
