//! What happened, told to the application: `<prefix>.event.<kind>`, kept by the bus, and delivered by [`crate::webhooks`].
//!
//! Whoever sees something happen hands it to an [`Emitter`], which never waits: a bounded queue lies between, and a few lanes
//! that publish. All of one user goes through one lane, in order. An event is published again under its own id until it is
//! stored: at least once for as long as the node lives. What was in the queue of a node that dies is lost, and what comes
//! while the queue is full is dropped and counted.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use herald_proto::id;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    bus::{Bus, BusError},
    metrics,
};

mod changes;
pub(crate) mod tell;

/// Events of one lane that may wait.
const WAITING: usize = 4_096;
/// Publishing waits for the bus: so many events are under way at once.
const LANES: usize = 16;
/// Between tries, while the bus or the stream is away.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What is to be told before it is done waits so long at most.
const FIRST: Duration = Duration::from_millis(500);
/// How soon a flush looks again.
const SOON: Duration = Duration::from_millis(10);

/// The last token of an event's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Connected,
    Disconnected,
    Online,
    Offline,
    Message,
    Group,
    Login,
    Logout,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Connected,
        Self::Disconnected,
        Self::Online,
        Self::Offline,
        Self::Message,
        Self::Group,
        Self::Login,
        Self::Logout,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Message => "message",
            Self::Group => "group",
            Self::Login => "login",
            Self::Logout => "logout",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: Kind,
    /// By which a repeated one is known.
    pub id: String,
    /// Whose it is: events of one user keep their order.
    pub user: Option<String>,
    /// What else belongs to it.
    pub more: Map<String, Value>,
    /// Unix milliseconds.
    pub time: u64,
}

impl Event {
    /// `more` is a JSON object.
    pub fn new(kind: Kind, user: impl Into<String>, more: Value) -> Self {
        Self {
            kind,
            id: id::message_id(),
            user: Some(user.into()),
            more: match more {
                Value::Object(more) => more,
                _ => Map::new(),
            },
            time: id::now_ms(),
        }
    }

    fn encoded(&self, node: &str) -> Bytes {
        #[derive(Serialize)]
        struct Out<'a> {
            id: &'a str,
            kind: Kind,
            time: u64,
            node: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            user: Option<&'a str>,
            #[serde(flatten)]
            more: &'a Map<String, Value>,
        }
        let out = Out {
            id: &self.id,
            kind: self.kind,
            time: self.time,
            node,
            user: self.user.as_deref(),
            more: &self.more,
        };
        // Writing maps with text keys to memory cannot fail.
        serde_json::to_vec(&out).unwrap_or_default().into()
    }
}

/// Takes events. Cloning is cheap; all clones are the same.
#[derive(Clone)]
pub struct Emitter(Arc<Inner>);

struct Inner {
    node: String,
    kinds: BTreeSet<Kind>,
    lanes: Vec<mpsc::Sender<Queued>>,
    receivers: Mutex<Vec<mpsc::Receiver<Queued>>>,
    /// Not published yet.
    waiting: AtomicUsize,
}

struct Queued {
    event: Event,
    /// Told when it is published.
    done: Option<oneshot::Sender<()>>,
}

impl Emitter {
    /// Emits these kinds, in the name of a node.
    pub fn new(node: &str, kinds: impl IntoIterator<Item = Kind>) -> Self {
        let kinds: BTreeSet<Kind> = kinds.into_iter().collect();
        let count = if kinds.is_empty() { 0 } else { LANES };
        let (lanes, receivers) = (0..count).map(|_| mpsc::channel(WAITING)).unzip();
        Self(Arc::new(Inner {
            node: node.to_owned(),
            kinds,
            lanes,
            receivers: Mutex::new(receivers),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Emits nothing.
    pub fn none() -> Self {
        Self::new("", [])
    }

    /// Whether it is worth making one.
    pub fn wants(&self, kind: Kind) -> bool {
        self.0.kinds.contains(&kind)
    }

    /// Never waits.
    pub fn emit(&self, kind: Kind, make: impl FnOnce() -> Event) {
        if self.wants(kind) {
            self.put(make(), None);
        }
    }

    /// Waits until it is published, but not for long: then it waits in the queue like all others. For what would else be
    /// done and never told, should this node die.
    pub async fn emit_first(&self, kind: Kind, make: impl FnOnce() -> Event) {
        if self.wants(kind) {
            let (done, published) = oneshot::channel();
            self.put(make(), Some(done));
            let _in_time = timeout(FIRST, published).await.is_ok();
        }
    }

    fn put(&self, event: Event, done: Option<oneshot::Sender<()>>) {
        let mut hasher = DefaultHasher::new();
        event.user.hash(&mut hasher);
        // The remainder is below LANES, so the conversion loses nothing.
        let lane = (hasher.finish() % LANES as u64) as usize;
        let Some(lane) = self.0.lanes.get(lane) else { return };
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = lane.try_send(Queued { event, done }) {
            self.0.waiting.fetch_sub(1, Ordering::AcqRel);
            metrics::event(error.into_inner().event.kind, "dropped");
        }
    }

    /// Publishes until dropped.
    pub async fn run(&self, bus: &Bus) {
        let receivers = std::mem::take(&mut *self.0.receivers.lock());
        let lanes = receivers.into_iter().map(|mut lane| async move {
            while let Some(Queued { event, done }) = lane.recv().await {
                self.publish(bus, event).await;
                // Nobody may wait any more.
                let _told = done.is_none_or(|done| done.send(()).is_ok());
                self.0.waiting.fetch_sub(1, Ordering::AcqRel);
            }
        });
        join_all(lanes).await;
    }

    /// Until it is stored, or can never be.
    async fn publish(&self, bus: &Bus, event: Event) {
        let payload = event.encoded(&self.0.node);
        let mut pause = PAUSE;
        loop {
            let published = bus.events.publish(event.kind.as_str(), &event.id, payload.clone());
            match published.await {
                Ok(()) => return metrics::event(event.kind, "published"),
                Err(error @ (BusError::TooLarge | BusError::Refused(_))) => {
                    warn!(%error, kind = event.kind.as_str(), "an event could not be published");
                    return metrics::event(event.kind, "refused");
                }
                Err(error) => debug!(%error, "an event cannot be published yet"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns when all that was put in has been published.
    pub async fn flushed(&self) {
        while self.0.waiting.load(Ordering::Acquire) > 0 {
            sleep(SOON).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{bus::memory, config::LogSettings};

    #[tokio::test]
    async fn events_of_one_user_keep_their_order_and_nothing_waits() {
        let bus = memory::bus(LogSettings::default().limits());
        let emitter = Emitter::new("n", [Kind::Group]);
        for n in 0..1_000 {
            emitter.emit(Kind::Group, || {
                Event::new(Kind::Group, format!("u{}", n % 7), json!({ "n": n }))
            });
            emitter.emit(Kind::Login, || panic!("nobody wants these"));
        }
        tokio::select! {
            () = emitter.run(&bus) => {}
            () = emitter.flushed() => {}
        }
        let entries = bus.events.read(0, 2_000).await.unwrap();
        assert_eq!(entries.len(), 1_000);
        let mut last = std::collections::HashMap::new();
        for entry in entries {
            let event: Value = serde_json::from_slice(&entry.payload).unwrap();
            let before = last.insert(event["user"].clone(), event["n"].as_u64());
            assert!(before.is_none_or(|before| before < event["n"].as_u64()), "{event}");
            assert_eq!((&event["kind"], &event["node"]), (&json!("group"), &json!("n")));
        }
    }
}
