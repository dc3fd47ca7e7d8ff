//! A client of `GET /events`, by hand: HTTP chunks, lines, events. And one that is cut and comes back, as a browser's
//! EventSource would: with the last id that it was told.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};

use crate::{PATIENCE, heard::Heard, http, upgrade::escaped};

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
    pub id: Option<String>,
}

pub struct Events {
    stream: TcpStream,
    pub head: String,
    raw: Vec<u8>,
    /// What the chunks held.
    text: Vec<u8>,
    ended: bool,
    pub last_id: Option<String>,
    /// How many heartbeats came.
    pub pings: usize,
}

impl Events {
    /// Asks for the stream; whatever was answered is in `head`.
    pub async fn open(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_open(address, query, headers, false).await.expect("an answer")
    }

    pub async fn dev(address: SocketAddr, token: &str) -> Self {
        let mut events = Self::open(address, &format!("token={token}"), &[]).await;
        events.named("connected").await;
        events
    }

    /// `narrow`: the kernel takes in little, so that one who does not read is soon felt by the server.
    pub async fn try_open(
        address: SocketAddr,
        query: &str,
        headers: &[(&str, &str)],
        narrow: bool,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if narrow {
            socket.set_recv_buffer_size(4096)?;
        }
        let mut stream = socket.connect(address).await?;
        let mut request = format!("GET /events?{query} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream.write_all((request + "\r\n").as_bytes()).await?;
        let mut events = Self {
            stream,
            head: String::new(),
            raw: Vec::new(),
            text: Vec::new(),
            ended: false,
            last_id: None,
            pings: 0,
        };
        loop {
            if let Some(end) = events.raw.windows(4).position(|w| w == b"\r\n\r\n") {
                events.head = String::from_utf8_lossy(&events.raw[..end]).into_owned();
                events.raw.drain(..end + 4);
                return Ok(events);
            }
            if !events.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.expect("a status line")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.head, name)
    }

    async fn more(&mut self) -> io::Result<bool> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.raw)).await;
        Ok(read.expect("nothing came for half a minute")? > 0)
    }

    /// The next event; None where the stream has ended as it should. Heartbeats are counted.
    pub async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            self.take_chunks();
            self.take_pings();
            while let Some(end) = self.text.windows(2).position(|w| w == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("UTF-8");
                self.take_pings();
                if let Some(event) = self.event(&block) {
                    return Ok(Some(event));
                }
            }
            if self.ended {
                return Ok(None);
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take_chunks(&mut self) {
        while let Some(line) = self.raw.windows(2).position(|w| w == b"\r\n") {
            let size = str::from_utf8(&self.raw[..line]).expect("a chunk's size");
            let size = usize::from_str_radix(size, 16).expect("a chunk's size");
            if self.raw.len() < line + 2 + size + 2 {
                return;
            }
            self.text.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
            self.raw.drain(..line + 2 + size + 2);
            self.ended |= size == 0;
        }
    }

    /// They stand between events.
    fn take_pings(&mut self) {
        const PING: &[u8] = b": ping\n";
        while self.text.starts_with(PING) {
            self.text.drain(..PING.len());
            self.pings += 1;
        }
    }

    fn event(&mut self, block: &str) -> Option<Event> {
        let (mut name, mut data, mut id) = ("message", None, None);
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some(("event", value)) => name = value,
                Some(("data", value)) => data = Some(value),
                Some(("id", value)) => id = Some(value.to_owned()),
                _ => panic!("an odd line: {line:?}"),
            }
        }
        if id.is_some() {
            self.last_id.clone_from(&id);
        }
        Some(Event {
            name: name.to_owned(),
            data: serde_json::from_str(data?).expect("JSON"),
            id,
        })
    }

    /// The data of the next event of this name; others are passed over.
    pub async fn named(&mut self, name: &str) -> Value {
        loop {
            let event = self.next().await.expect("the connection stands");
            let event = event.unwrap_or_else(|| panic!("the stream ended before {name}"));
            if event.name == name {
                return event.data;
            }
        }
    }

    /// The code that the stream must end with; nothing follows.
    pub async fn closed(&mut self) -> u64 {
        let closed = self.named("closed").await;
        assert_eq!(self.next().await.expect("an orderly end"), None);
        closed["code"].as_u64().expect("a code")
    }
}

/// Keeps its last id and what it has heard.
pub struct Listener {
    pub user: String,
    token: String,
    events: Option<Events>,
    pub last_id: Option<String>,
    pub heard: Heard,
    pub gaps: usize,
    pub connected: Value,
}

impl Listener {
    pub fn new(user: &str, token: &str) -> Self {
        Self {
            user: user.to_owned(),
            token: token.to_owned(),
            events: None,
            last_id: None,
            heard: Heard::default(),
            gaps: 0,
            connected: Value::Null,
        }
    }

    pub async fn resume(&mut self, address: SocketAddr) {
        self.resume_with(address, false).await;
    }

    /// Through a socket that takes in little.
    pub async fn resume_narrow(&mut self, address: SocketAddr) {
        self.resume_with(address, true).await;
    }

    async fn resume_with(&mut self, address: SocketAddr, narrow: bool) {
        let query = format!("token={}", self.token);
        let headers: Vec<(&str, &str)> = self.last_id.iter().map(|id| ("Last-Event-ID", id.as_str())).collect();
        let events = Events::try_open(address, &query, &headers, narrow).await;
        let mut events = events.expect("the gateway answers");
        assert_eq!(events.status(), 200, "{}", events.head);
        self.connected = events.named("connected").await["connected"].take();
        self.gaps += usize::from(self.connected["gap"] == true);
        self.last_id.clone_from(&events.last_id);
        self.events = Some(events);
    }

    pub fn cut(&mut self) {
        self.events = None;
    }

    /// Takes what comes until `end`; None where the stream has ended by then.
    pub async fn hear_until(&mut self, end: Instant, mut enough: impl FnMut(&Self) -> bool) -> Option<()> {
        while !enough(self) {
            let events = self.events.as_mut().expect("it is connected");
            let Ok(next) = timeout_at(end, events.next()).await else {
                return Some(());
            };
            let Ok(Some(mut event)) = next else {
                self.events = None;
                return None;
            };
            self.last_id.clone_from(&events.last_id);
            if event.name == "message" {
                self.heard.note(&self.user, &event.data["message"].take());
            }
        }
        Some(())
    }

    /// Hears until `holds`, which must come true.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        let stands = self.hear_until(end, &mut holds).await;
        let heard = self.heard.count();
        assert!(
            stands.is_some() && holds(self),
            "{}: never came: {what}; heard {heard}",
            self.user
        );
    }

    /// A text as it stands in a query.
    pub fn in_query(text: &str) -> String {
        text.bytes().map(escaped).collect()
    }
}
