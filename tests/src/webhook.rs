//! A receiver of webhooks as an application would write it: it checks signatures and drops events that it has seen.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::eventually;

pub mod outage;

pub const SECRET: &str = "a-webhook-secret-of-these-tests";

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Accept,
    /// With this status, and nothing is kept.
    Answer(u16),
    /// Never answers.
    Hang,
    /// Refuses requests with an event of this user.
    Refuse(&'static str),
}

#[derive(Default)]
struct Heard {
    /// Each once, in the order of their first coming.
    events: Vec<Value>,
    seen: HashSet<String>,
    requests: usize,
    twice: usize,
    largest: usize,
    signatures: Vec<String>,
}

/// It is down until it is up.
pub struct Receiver {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    does: Arc<Mutex<Does>>,
    task: Option<JoinHandle<()>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let mut receiver = Self {
            address,
            heard: Arc::default(),
            does: Arc::new(Mutex::new(Does::Accept)),
            task: None,
        };
        receiver.serve(listener);
        receiver
    }

    fn serve(&mut self, listener: TcpListener) {
        let (heard, does) = (self.heard.clone(), self.does.clone());
        self.task = Some(tokio::spawn(async move {
            // They end with the receiver.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (heard, does) = (heard.clone(), does.clone());
                connections.spawn(async move {
                    // It may be broken off at any time.
                    let _ = connection(stream, &heard, &does).await;
                });
            }
        }));
    }

    /// Its port is closed, and all connections are.
    pub async fn down(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _aborted = task.await;
        }
    }

    pub async fn up(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                // Connections of before may still be ending.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve(listener);
    }

    pub fn does(&self, does: Does) {
        *self.does.lock().expect("never poisoned") = does;
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// A `[[webhooks]]` table for it.
    pub fn table(&self, name: &str, more: &str) -> String {
        let url = self.url();
        format!(
            "[[webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\nsecrets = [\"{SECRET}\"]\nretry_min = \"50ms\"\nretry_max = \"500ms\"\n{more}\n"
        )
    }

    fn with<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.heard.lock().expect("never poisoned"))
    }

    /// Each event once, in the order in which they came first.
    pub fn events(&self) -> Vec<Value> {
        self.with(|heard| heard.events.clone())
    }

    pub fn of(&self, user: &str) -> Vec<Value> {
        self.events()
            .into_iter()
            .filter(|event| event["user"] == user)
            .collect()
    }

    pub fn kinds_of(&self, user: &str) -> Vec<String> {
        let kind = |event: &Value| event["kind"].as_str().expect("a kind").to_owned();
        self.of(user).iter().map(kind).collect()
    }

    pub fn count(&self) -> usize {
        self.with(|heard| heard.events.len())
    }

    pub fn requests(&self) -> usize {
        self.with(|heard| heard.requests)
    }

    /// Events that came again.
    pub fn twice(&self) -> usize {
        self.with(|heard| heard.twice)
    }

    /// Events of the largest request.
    pub fn largest(&self) -> usize {
        self.with(|heard| heard.largest)
    }

    pub fn signatures(&self) -> Vec<String> {
        self.with(|heard| heard.signatures.clone())
    }

    /// Waits for the first event of a user and a kind.
    pub async fn hears(&self, user: &str, kind: &str) -> Value {
        let found = || {
            let events = self.of(user);
            events.into_iter().find(|event| event["kind"] == kind)
        };
        eventually(&format!("{kind} of {user}"), async || found().is_some()).await;
        found().expect("just found")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn connection(stream: TcpStream, heard: &Mutex<Heard>, does: &Mutex<Does>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some((signature, body)) = read(&mut stream).await? else {
            return Ok(());
        };
        let does = *does.lock().expect("never poisoned");
        let status = match does {
            Does::Accept => take(heard, &signature, &body),
            Does::Answer(status) => status,
            Does::Hang => std::future::pending().await,
            Does::Refuse(user) if mentions(&body, user) => 422,
            Does::Refuse(_) => take(heard, &signature, &body),
        };
        heard.lock().expect("never poisoned").requests += 1;
        let answer = format!("HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The signature and the body of a request.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut signature, mut length) = (String::new(), 0);
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_lowercase().as_str() {
            "herald-signature" => value.trim().clone_into(&mut signature),
            "content-length" => length = value.trim().parse().expect("a length"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some((signature, body)))
}

fn mentions(body: &[u8], user: &str) -> bool {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let events = body["events"].as_array().expect("events");
    events.iter().any(|event| event["user"] == user)
}

/// Keeps what is signed; the status.
fn take(heard: &Mutex<Heard>, signature: &str, body: &[u8]) -> u16 {
    if !is_signed(signature, body, SECRET) {
        return 401;
    }
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let events = body["events"].as_array().expect("events");
    let mut heard = heard.lock().expect("never poisoned");
    heard.largest = heard.largest.max(events.len());
    heard.signatures.push(signature.to_owned());
    for event in events {
        let id = event["id"].as_str().expect("an id").to_owned();
        match heard.seen.insert(id) {
            true => heard.events.push(event.clone()),
            false => heard.twice += 1,
        }
    }
    200
}

/// As the documentation says: any `v1` that fits is enough.
pub fn is_signed(signature: &str, body: &[u8], secret: &str) -> bool {
    let parts = signature.split(',').filter_map(|part| part.split_once('='));
    let parts: Vec<(&str, &str)> = parts.collect();
    let Some((_, time)) = parts.iter().find(|(name, _)| *name == "t") else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    let expected: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    parts.contains(&("v1", &expected))
}
