//! A relay between a node and NATS that knows the node's connections by the names that they give, and can cut some of them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// More than a client's CONNECT takes.
const HELLO: usize = 4_096;

pub struct Relay {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    /// The names of all connections so far.
    names: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Cuts, when it is told to, the connections whose names end so.
    pub async fn start(nats: SocketAddr, end: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (cut, seen) = watch::channel(false);
        let names: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = names.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, nats, end, seen.clone(), noted.clone()));
            }
        });
        Self {
            address,
            cut,
            names,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// None passes, and none comes about, until it is told otherwise.
    pub fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }

    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that fails is the node's to make again.
async fn relay(
    mut client: TcpStream,
    nats: SocketAddr,
    end: &str,
    mut cut: watch::Receiver<bool>,
    names: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut server = TcpStream::connect(nats).await.ok()?;
    let mut hello = Vec::new();
    let name = loop {
        if let Some(name) = name(&hello) {
            break name;
        }
        let (mut from_client, mut from_server) = ([0; HELLO], [0; HELLO]);
        tokio::select! {
            read = client.read(&mut from_client) => match read.ok()? {
                0 => return None,
                read => hello.extend_from_slice(&from_client[..read]),
            },
            read = server.read(&mut from_server) => match read.ok()? {
                0 => return None,
                read => client.write_all(&from_server[..read]).await.ok()?,
            },
        }
    };
    let mine = name.ends_with(end);
    names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    server.write_all(&hello).await.ok()?;
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.wait_for(|cut| *cut), if mine => {}
    }
    Some(())
}

/// Of a whole CONNECT.
fn name(hello: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(hello).ok()?;
    let (_, json) = text.split_once("CONNECT ")?;
    let (json, _) = json.split_once("\r\n")?;
    let hello: serde_json::Value = serde_json::from_str(json).ok()?;
    Some(hello["name"].as_str().unwrap_or_default().to_owned())
}
