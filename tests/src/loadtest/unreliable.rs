//! A small server of Herald's native wire that does one thing wrong, to see whether it is noticed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::AbortOnDropHandle;

/// One message in so many is treated badly.
const EVERY: u64 = 10;
/// The connection that is closed: not the first, with which the load test sees that somebody is there.
const VICTIM: u64 = 1;
/// Messages that wait for a reader: more than any test sends.
const ROOM: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    Loses,
    Reorders,
    Doubles,
    Refuses,
    Closes,
}

/// Gives every message to everybody, but for its fault.
pub struct Unreliable {
    pub address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Hub {
    fault: Fault,
    messages: broadcast::Sender<String>,
    connections: Arc<AtomicU64>,
}

impl Unreliable {
    pub async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let hub = Hub {
            fault,
            messages: broadcast::Sender::new(ROOM),
            connections: Arc::default(),
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, hub.clone()));
            }
        });
        Self {
            address,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

async fn serve(stream: TcpStream, hub: Hub) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let number = hub.connections.fetch_add(1, Relaxed);
    let mut messages = hub.messages.subscribe();
    let (mut write, mut read) = socket.split();
    let welcome = json!({"connected": {"user": "somebody", "cursor": "1@0:0", "gap": false}});
    if write.send(Message::text(welcome.to_string())).await.is_err() {
        return;
    }
    let (mut heard, mut held) = (0, None);
    loop {
        tokio::select! {
            frame = read.next() => {
                let Some(Ok(Message::Text(text))) = frame else {
                    return;
                };
                let answer = hub.take(&text);
                if write.send(Message::text(answer.to_string())).await.is_err() {
                    return;
                }
            }
            message = messages.recv() => {
                let Ok(message) = message else {
                    return;
                };
                heard += 1;
                if hub.fault == Fault::Closes && number == VICTIM && heard == EVERY {
                    return;
                }
                for message in hub.mistreat(message, heard, &mut held) {
                    if write.send(Message::text(message)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

impl Hub {
    /// Takes a `send` in, and answers it.
    fn take(&self, text: &str) -> Value {
        let command: Value = serde_json::from_str(text).expect("a command");
        let id = &command["id"];
        if self.fault == Fault::Refuses && id.as_u64().is_some_and(|id| id % EVERY == 0) {
            return json!({"id": id, "error": {"code": "unavailable", "message": "not now", "retry": true}});
        }
        let push = json!({"message": {"to": command["send"]["to"], "body": command["send"]["body"]}});
        // Nobody listening is no error.
        let _ = self.messages.send(push.to_string());
        json!({"id": id, "sent": {"id": "x"}})
    }

    /// What one connection is given in place of its next message.
    fn mistreat(&self, message: String, heard: u64, held: &mut Option<String>) -> Vec<String> {
        if !heard.is_multiple_of(EVERY) && held.is_none() {
            return vec![message];
        }
        match self.fault {
            Fault::Loses => Vec::new(),
            Fault::Doubles => vec![message.clone(), message],
            Fault::Reorders => match held.take() {
                None => {
                    *held = Some(message);
                    Vec::new()
                }
                Some(earlier) => vec![message, earlier],
            },
            Fault::None | Fault::Refuses | Fault::Closes => vec![message],
        }
    }
}
