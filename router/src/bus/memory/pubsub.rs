//! Subjects, wildcards and queue groups as NATS has them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout_at},
};

use super::check;
use crate::bus::{BusError, BusState, Message, PubSub, Reply, ReplyTo, Request, Requests, Result, Source};

/// Messages that may wait for one subscriber. Beyond that publishing drops, as core NATS does, and requests wait.
const PENDING: usize = 1_024;

pub struct MemoryPubSub {
    registry: Arc<RwLock<Registry>>,
    next_id: AtomicU64,
    /// Spreads requests over the members of a queue group.
    turn: AtomicU64,
    state: watch::Sender<BusState>,
}

impl Default for MemoryPubSub {
    fn default() -> Self {
        Self {
            registry: Arc::default(),
            next_id: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            state: watch::Sender::new(BusState::Ready),
        }
    }
}

#[derive(Default)]
struct Registry {
    exact: HashMap<String, Vec<Subscriber>>,
    wildcard: Vec<(String, Subscriber)>,
}

#[derive(Clone)]
struct Subscriber {
    id: u64,
    queue: Option<Arc<str>>,
    sender: mpsc::Sender<Request>,
}

/// The receiving end.
struct Subscription {
    registry: Weak<RwLock<Registry>>,
    pattern: String,
    id: u64,
    receiver: mpsc::Receiver<Request>,
}

impl Subscription {
    /// Taking the subscriber out drops its sender: what waits is still received, then the channel ends.
    fn end(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.write().remove(&self.pattern, self.id);
        }
    }
}

#[async_trait]
impl Source for Subscription {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Request>> {
        self.receiver.poll_recv(cx)
    }

    async fn unsubscribe(&mut self) {
        self.end();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}

/// Who gets one message: all plain subscribers, and one member of each queue.
#[derive(Default)]
struct Receivers {
    plain: Vec<mpsc::Sender<Request>>,
    queues: Vec<(Arc<str>, Vec<mpsc::Sender<Request>>)>,
}

impl Registry {
    fn receivers(&self, subject: &str) -> Receivers {
        let exact = self.exact.get(subject).into_iter().flatten();
        let wildcard = self.wildcard.iter().filter(|(pattern, _)| matches(pattern, subject));
        let mut found = Receivers::default();
        for subscriber in exact.chain(wildcard.map(|(_, subscriber)| subscriber)) {
            let sender = subscriber.sender.clone();
            let Some(queue) = &subscriber.queue else {
                found.plain.push(sender);
                continue;
            };
            match found.queues.iter_mut().find(|(name, _)| name == queue) {
                Some((_, members)) => members.push(sender),
                None => found.queues.push((queue.clone(), vec![sender])),
            }
        }
        found
    }

    fn remove(&mut self, pattern: &str, id: u64) {
        if let Some(subscribers) = self.exact.get_mut(pattern) {
            subscribers.retain(|subscriber| subscriber.id != id);
            if subscribers.is_empty() {
                self.exact.remove(pattern);
            }
        }
        self.wildcard.retain(|(_, subscriber)| subscriber.id != id);
    }
}

/// NATS' rule: `*` is one token, a last `>` is one or more.
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(p), Some(s)) if p == s => {}
            _ => return false,
        }
    }
}

impl MemoryPubSub {
    fn add(&self, subject: &str, queue: Option<&str>) -> Requests {
        let (sender, receiver) = mpsc::channel(PENDING);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let subscriber = Subscriber {
            id,
            queue: queue.map(Arc::from),
            sender,
        };
        let mut registry = self.registry.write();
        if subject.split('.').any(|token| token == "*" || token == ">") {
            registry.wildcard.push((subject.to_owned(), subscriber));
        } else {
            registry.exact.entry(subject.to_owned()).or_default().push(subscriber);
        }
        drop(registry);
        Requests(Box::new(Subscription {
            registry: Arc::downgrade(&self.registry),
            pattern: subject.to_owned(),
            id,
            receiver,
        }))
    }

    fn first(&self, members: &[mpsc::Sender<Request>]) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        usize::try_from(turn).unwrap_or_default() % members.len().max(1)
    }

    /// Offers to each member in turn, beginning anywhere. False where all are full.
    fn offer(&self, members: &[mpsc::Sender<Request>], request: impl Fn() -> Request) -> bool {
        let first = self.first(members);
        (0..members.len()).any(|at| {
            let member = &members[(first + at) % members.len()];
            // Room is looked for first, so that the request is made once.
            member.try_reserve().is_ok_and(|place| {
                place.send(request());
                true
            })
        })
    }
}

fn request(subject: &str, message: &Message, reply: ReplyTo) -> Request {
    let Message { headers, payload } = message.clone();
    Request {
        subject: subject.to_owned(),
        headers,
        payload,
        reply: Reply(reply),
    }
}

#[async_trait]
impl PubSub for MemoryPubSub {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<()> {
        let message = payload.into();
        check(&message)?;
        let receivers = self.registry.read().receivers(subject);
        let plain = receivers.plain.into_iter().map(|sender| vec![sender]);
        let queues = receivers.queues.into_iter().map(|(_, members)| members);
        for members in plain.chain(queues) {
            let request = || request(subject, &message, ReplyTo::Nowhere);
            if !self.offer(&members, request) {
                tracing::warn!(subject, "slow subscriber: message dropped");
            }
        }
        Ok(())
    }

    async fn subscribe(&self, subject: &str) -> Result<Requests> {
        Ok(self.add(subject, None))
    }

    async fn queue_subscribe(&self, subject: &str, queue: &str) -> Result<Requests> {
        Ok(self.add(subject, Some(queue)))
    }

    async fn request(&self, subject: &str, payload: Bytes, deadline: Duration) -> Result<Bytes> {
        let answer = self.call(subject, payload.into(), deadline).await?;
        Ok(answer.payload)
    }

    async fn call(&self, subject: &str, message: Message, deadline: Duration) -> Result<Message> {
        check(&message)?;
        let end = Instant::now() + deadline;
        let receivers = self.registry.read().receivers(subject);
        if receivers.plain.is_empty() && receivers.queues.is_empty() {
            return Err(BusError::NoResponders);
        }
        let (asker, answer) = oneshot::channel();
        let asker = Arc::new(Mutex::new(Some(asker)));
        let to_asker = || request(subject, &message, ReplyTo::Memory(asker.clone()));
        for sender in &receivers.plain {
            if sender.try_send(to_asker()).is_err() {
                tracing::warn!(subject, "slow subscriber: request dropped");
            }
        }
        for (_, members) in &receivers.queues {
            // A full queue group is backpressure on whoever asks, up to the deadline.
            if !self.offer(members, to_asker) {
                let member = &members[self.first(members)];
                let sent = timeout_at(end, member.send(to_asker())).await;
                sent.map_err(|_| BusError::Timeout)?
                    .map_err(|_| BusError::NoResponders)?;
            }
        }
        drop(asker);
        match timeout_at(end, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            // Taken and dropped without an answer: whether anything was done nobody can know, as on NATS.
            Ok(Err(_)) => {
                sleep_until(end).await;
                Err(BusError::Timeout)
            }
            Err(_) => Err(BusError::Timeout),
        }
    }

    async fn fence(&self) -> Result<()> {
        Ok(())
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.state.subscribe()
    }

    fn max_payload(&self) -> usize {
        super::MAX_PAYLOAD
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_match_as_on_nats() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a.*.c", "a.b.c", true),
            ("a.b", "a.b.c", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
