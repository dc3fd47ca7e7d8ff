//! WebSocket clients, over a library that the server does not use. Both native dialects take and give JSON here.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{PATIENCE, codec, token};

pub use crate::upgrade::{Dialect, Refusal, Upgrade};

/// What comes from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Frame(Value),
    Closed(u16, String),
    /// The TCP connection ended without a close frame.
    Lost(String),
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    dialect: Dialect,
    last_id: u32,
    /// Pushes that came while something else was waited for.
    waiting: VecDeque<Value>,
    /// The content of the `connected` frame.
    pub connected: Value,
}

impl Client {
    pub(crate) fn new(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, dialect: Dialect) -> Self {
        Self {
            socket,
            dialect,
            last_id: 0,
            waiting: VecDeque::new(),
            connected: Value::Null,
        }
    }

    /// A development user in JSON.
    pub async fn dev(address: SocketAddr, user: &str) -> Self {
        Self::with_token(address, Dialect::Json, &token::dev(user)).await
    }

    pub async fn with_token(address: SocketAddr, dialect: Dialect, token: &str) -> Self {
        let upgrade = Upgrade::to(address).dialect(dialect).query("token", token);
        upgrade.connect().await
    }

    /// Sends a frame as it is; an answer, if it asks for one, comes as a push would.
    pub async fn send(&mut self, frame: &Value) {
        self.try_send(frame).await.expect("the connection stands");
    }

    /// The same where the connection may be gone.
    pub async fn try_send(&mut self, frame: &Value) -> Result<(), Error> {
        let message = match self.dialect {
            Dialect::Json => Message::text(frame.to_string()),
            Dialect::Proto => Message::binary(codec::encode(frame)),
        };
        let sent = timeout(PATIENCE, self.socket.send(message)).await;
        sent.expect("the server reads")
    }

    pub async fn raw(&mut self, message: Message) {
        let sent = timeout(PATIENCE, self.socket.send(message)).await;
        sent.expect("the server reads").expect("the connection stands");
    }

    /// Sends a command under a fresh id, which it returns.
    pub async fn start(&mut self, mut command: Value) -> u32 {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.send(&command).await;
        self.last_id
    }

    /// Sends a command and waits for its answer; pushes that come meanwhile are kept for `next`.
    pub async fn command(&mut self, command: Value) -> Value {
        let id = self.start(command).await;
        self.answer(id).await
    }

    pub async fn answer(&mut self, id: u32) -> Value {
        let is_mine = |frame: &Value| frame["id"] == id;
        if let Some(at) = self.waiting.iter().position(is_mine) {
            return self.waiting.remove(at).expect("found there");
        }
        loop {
            let frame = self.frame().await;
            if is_mine(&frame) {
                return frame;
            }
            self.waiting.push_back(frame);
        }
    }

    /// The content of the answer `name` to a command that must succeed.
    pub async fn ask(&mut self, command: Value, name: &str) -> Value {
        let shown = command.to_string();
        let mut answer = self.command(command).await;
        assert!(answer.get(name).is_some(), "{answer} instead of {name} for {shown}");
        answer[name].take()
    }

    /// The code of the error that a command must meet.
    pub async fn refused(&mut self, command: Value) -> String {
        let error = self.ask(command, "error").await;
        error["code"].as_str().expect("a code").to_owned()
    }

    /// Sends a message that must be accepted; the content of `sent`.
    pub async fn say(&mut self, to: Value, body: Value) -> Value {
        self.ask(json!({"send": {"to": to, "body": body}}), "sent").await
    }

    pub async fn join(&mut self, group: &str) {
        let joined = self.ask(json!({"join": {"group": group}}), "joined").await;
        assert_eq!(joined["group"], group);
    }

    /// The content of the next frame that carries `name`; others are kept in their order.
    pub async fn next(&mut self, name: &str) -> Value {
        if let Some(at) = self.waiting.iter().position(|frame| frame.get(name).is_some()) {
            return self.waiting.remove(at).expect("found there")[name].take();
        }
        loop {
            let mut frame = self.frame().await;
            if frame.get(name).is_some() {
                return frame[name].take();
            }
            self.waiting.push_back(frame);
        }
    }

    pub async fn next_message(&mut self) -> Value {
        self.next("message").await
    }

    pub async fn messages(&mut self, count: usize) -> Vec<Value> {
        let mut messages = Vec::with_capacity(count);
        while messages.len() < count {
            messages.push(self.next_message().await);
        }
        messages
    }

    /// Whether a frame that carries `name` has come, or comes within `time`: for what must not happen, which no
    /// condition ends.
    pub async fn hears(&mut self, name: &str, time: Duration) -> bool {
        timeout(time, self.next(name)).await.is_ok()
    }

    /// The next frame of any kind, past those already kept.
    pub async fn frame(&mut self) -> Value {
        match self.event().await {
            Event::Frame(frame) => frame,
            end => panic!("the connection of {} ended: {end:?}", self.connected["user"]),
        }
    }

    pub async fn event(&mut self) -> Event {
        let event = self.event_until(Instant::now() + PATIENCE).await;
        event.expect("nothing came for half a minute")
    }

    /// None where nothing came until `end`. May be cancelled.
    pub async fn event_until(&mut self, end: Instant) -> Option<Event> {
        loop {
            // Pings come and go meanwhile: they are no reason to wait for longer.
            let next = timeout_at(end, self.socket.next()).await.ok()?;
            return Some(match next {
                Some(Ok(Message::Text(text))) => {
                    assert_eq!(self.dialect, Dialect::Json, "text in protobuf: {text}");
                    Event::Frame(serde_json::from_str(&text).expect("JSON from the server"))
                }
                Some(Ok(Message::Binary(bytes))) => {
                    assert_eq!(self.dialect, Dialect::Proto, "binary in JSON");
                    Event::Frame(codec::decode(&bytes))
                }
                Some(Ok(Message::Close(Some(close)))) => Event::Closed(close.code.into(), close.reason.to_string()),
                Some(Ok(Message::Close(None))) => Event::Closed(1005, String::new()),
                Some(Ok(_)) => continue,
                Some(Err(e)) => Event::Lost(e.to_string()),
                None => Event::Lost("end of stream".into()),
            });
        }
    }

    /// The code of the close frame that must come; other frames before it are skipped.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.event().await {
                Event::Frame(_) => {}
                Event::Closed(code, _) => return code,
                Event::Lost(why) => panic!("no close frame: {why}"),
            }
        }
    }

    /// The pushes that came while something else was waited for, and that nobody has asked for since.
    pub fn take_waiting(&mut self) -> VecDeque<Value> {
        std::mem::take(&mut self.waiting)
    }

    /// Says goodbye and waits for the echo.
    pub async fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        self.raw(Message::Close(Some(frame))).await;
        assert_eq!(self.closed().await, 1000);
    }
}
