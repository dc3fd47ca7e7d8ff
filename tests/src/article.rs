//! Clients of the reference articles: the Go programs under `tests/go`, and one that sends and sees frames as they are.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::{
    PATIENCE,
    client::Client,
    cluster::Cluster,
    eventually,
    gateway::dev_gateway,
    golang::{Program, build},
    http::{DEV_API_KEY, post},
    metrics::Metrics,
    process::Node,
    upgrade::Upgrade,
};

pub mod service;

/// A client of an article's, as its program speaks.
pub struct Go(Program);

impl Go {
    /// `program` is one of `article001` to `article004`; it must be let in.
    pub async fn dial(program: &'static str, address: SocketAddr, path: &str) -> Self {
        let mut client = Self(Program::start(&build(program), address));
        assert_eq!(client.ask(&format!("dial ws://{address}{path}")).await, "ok", "{path}");
        client
    }

    pub async fn ask(&mut self, line: &str) -> String {
        self.0.ask(line).await
    }

    /// A line that must go out.
    pub async fn say(&mut self, line: &str) {
        assert_eq!(self.ask(line).await, "ok", "{line}");
    }

    pub async fn next(&mut self) -> String {
        self.ask("next").await
    }

    /// The next frame must be this.
    pub async fn hears(&mut self, frame: &str) {
        assert_eq!(self.next().await, frame);
    }

    /// Ends as the article's client does.
    pub async fn close(mut self) {
        self.say("close").await;
        self.hears("closed 1000").await;
    }
}

/// What comes from the server. Pings are answered, and passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Closed(u16),
    Lost,
}

/// A client that knows of no format.
pub struct Peer(Client);

impl Peer {
    /// It must be let in.
    pub async fn open(address: SocketAddr, path: &str) -> Self {
        Self::of(Upgrade::to(address).path(path)).await
    }

    pub async fn of(upgrade: Upgrade) -> Self {
        Self::try_of(upgrade).await.expect("an upgrade")
    }

    /// The status, if it is not let in.
    pub async fn try_of(upgrade: Upgrade) -> Result<Self, u16> {
        Ok(Self(upgrade.open().await?.0))
    }

    pub async fn text(&mut self, text: &str) {
        self.0.raw(Message::text(text)).await;
    }

    pub async fn binary(&mut self, bytes: &[u8]) {
        self.0.raw(Message::Binary(Bytes::copy_from_slice(bytes))).await;
    }

    /// The same where the connection may be gone.
    pub async fn try_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.try_raw(Message::Binary(Bytes::copy_from_slice(bytes))).await
    }

    pub async fn try_text(&mut self, text: &str) -> Result<(), Error> {
        self.try_raw(Message::text(text)).await
    }

    async fn try_raw(&mut self, message: Message) -> Result<(), Error> {
        let sent = timeout(PATIENCE, self.0.socket.send(message)).await;
        sent.expect("the server reads")
    }

    pub async fn raw(&mut self, message: Message) {
        self.0.raw(message).await;
    }

    pub async fn next(&mut self) -> Frame {
        let next = timeout(PATIENCE, self.frame()).await;
        next.expect("a frame within half a minute")
    }

    /// Waits for a ping by which the server asks for more than a sign of life, and answers it.
    pub async fn answers_a_ping(&mut self) {
        let asked = async {
            loop {
                match self.0.socket.next().await {
                    Some(Ok(Message::Ping(payload))) if !payload.is_empty() => break,
                    Some(Ok(_)) => {}
                    other => panic!("{other:?} in place of a ping"),
                }
            }
            self.0.socket.flush().await.expect("the connection stands");
        };
        timeout(PATIENCE, asked).await.expect("a ping within half a minute");
    }

    /// Whether a frame comes within `time`: for what must not happen, which no condition ends.
    pub async fn hears_within(&mut self, time: Duration) -> Option<Frame> {
        timeout(time, self.frame()).await.ok()
    }

    /// The next frame, which must be a text.
    pub async fn next_text(&mut self) -> String {
        match self.next().await {
            Frame::Text(text) => text,
            other => panic!("{other:?} in place of a text"),
        }
    }

    pub async fn next_binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Frame::Binary(bytes) => bytes,
            other => panic!("{other:?} in place of bytes"),
        }
    }

    /// The code that it must be closed with; other frames before it are skipped.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Frame::Closed(code) => return code,
                Frame::Lost => panic!("no close frame"),
                Frame::Text(_) | Frame::Binary(_) => {}
            }
        }
    }

    async fn frame(&mut self) -> Frame {
        loop {
            return match self.0.socket.next().await {
                Some(Ok(Message::Text(text))) => Frame::Text(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(close))) => Frame::Closed(close.map_or(1005, |close| close.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Frame::Lost,
            };
        }
    }
}

/// Gateways under `--dev`: one that is alone, or two of a cluster; clients connect to the first and to the last.
pub struct Nodes {
    gateways: Vec<Node>,
    _cluster: Option<Cluster>,
}

impl Nodes {
    pub async fn one() -> Self {
        Self {
            gateways: vec![dev_gateway().await],
            _cluster: None,
        }
    }

    pub async fn two() -> Self {
        let mut cluster = Cluster::start(1, 2).await;
        Self {
            gateways: std::mem::take(&mut cluster.gateways),
            _cluster: Some(cluster),
        }
    }

    pub fn first(&self) -> SocketAddr {
        self.gateways[0].public()
    }

    pub fn last(&self) -> SocketAddr {
        self.gateways[self.gateways.len() - 1].public()
    }

    /// Of all nodes: where they serve clients, and where they say whether they are ready.
    pub fn addresses(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let both = |node: &Node| (node.public(), node.admin());
        self.gateways.iter().map(both).collect()
    }

    /// Asks the first node to end.
    pub fn drain_first(&self) {
        self.gateways[0].terminate();
    }

    pub async fn first_has_ended(&mut self) {
        assert!(self.gateways[0].exit().await.success());
    }

    /// Of the server API.
    pub fn admin(&self) -> SocketAddr {
        self.gateways[0].admin()
    }

    /// Waits until all nodes take the user for online, or for offline.
    pub async fn online(&self, user: &str, online: bool) {
        for gateway in &self.gateways {
            eventually("everybody knows who is online", async || {
                let asked = json!({"users": [user]});
                let told = post(gateway.admin(), "/api/v1/presence", DEV_API_KEY, &asked).await;
                told.json()["users"][user]["online"] == online
            })
            .await;
        }
    }

    /// Waits until the first node has so many connections of a dialect.
    pub async fn has_connections(&self, dialect: &str, count: u32) {
        let name = format!("herald_gateway_connections{{dialect=\"{dialect}\",state=\"connected\"}}");
        eventually("so many are connected", async || {
            (Metrics::of(self.admin()).await.get(&name) - f64::from(count)).abs() < 0.5
        })
        .await;
    }

    /// Makes users members of a group: as natives, for the articles have no word for that.
    pub async fn group(&self, group: &str, members: &[&str]) {
        for user in members {
            let mut native = Client::dev(self.first(), user).await;
            native.join(group).await;
            native.close().await;
        }
    }
}
