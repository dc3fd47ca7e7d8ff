//! Requests to backends. The client's own requests leave a few hundred bytes behind for each that is never answered, and
//! backends may stay silent for as long as they like: so here everybody who waits has a place of its own, and takes it
//! along when it goes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::metrics::Gauge;
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::{
    sync::{OnceCell, oneshot},
    time::timeout,
};

use super::{Shared, headers};
use crate::{
    bus::{self, BusError, Result},
    metrics,
};

/// Answers that come faster than they are handed out wait in a subscription, which holds 1,024 of them. So there are several:
/// together they hold twice what a gateway has under way by default.
const INBOXES: u64 = 8;

pub(super) struct Calls {
    shared: Shared,
    waiting: Arc<Waiting>,
    /// The subjects that answers come beneath, by turns, once somebody asks.
    inboxes: OnceCell<Vec<String>>,
    next: AtomicU64,
}

/// Who waits, by the last token of the subject that its answer comes to.
struct Waiting {
    askers: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
    count: Gauge,
}

impl Calls {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            waiting: Arc::new(Waiting {
                askers: Mutex::default(),
                count: metrics::node::bus_calls(),
            }),
            inboxes: OnceCell::new(),
            next: AtomicU64::new(0),
        }
    }

    pub(super) async fn call(&self, subject: &str, message: bus::Message, deadline: Duration) -> Result<bus::Message> {
        let called = timeout(deadline, self.ask(subject, message)).await;
        called.unwrap_or(Err(BusError::Timeout))
    }

    async fn ask(&self, subject: &str, message: bus::Message) -> Result<bus::Message> {
        let headers = headers::to_map(&message.headers)?;
        let link = &self.shared.link;
        let inboxes = self.inboxes.get_or_try_init(|| self.listen()).await?;
        let (place, answer) = self.waiting.enter(self.next.fetch_add(1, Ordering::Relaxed));
        let reply = place.reply(inboxes);
        link.publish_call(subject.to_owned(), reply, headers, message.payload)
            .await?;
        // An asker goes only with its place, so that an error means that the listener has ended.
        let answer = link.while_up(answer).await?.map_err(|_| ended())?;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(BusError::NoResponders);
        }
        Ok(bus::Message {
            headers: answer.headers.as_ref().map(headers::from_map).unwrap_or_default(),
            payload: answer.payload,
        })
    }

    async fn listen(&self) -> Result<Vec<String>> {
        let link = &self.shared.link;
        let (mut inboxes, mut subscribers) = (Vec::new(), Vec::new());
        for _ in 0..INBOXES {
            let inbox = link.client().new_inbox();
            // The client renews it at each reconnect.
            subscribers.push(link.subscribe(format!("{inbox}.*")).await?);
            inboxes.push(inbox);
        }
        // Only now, so that whoever gives up before leaves no task behind.
        for answers in subscribers {
            let (waiting, shutdown) = (self.waiting.clone(), self.shared.shutdown.clone());
            self.shared.tasks.spawn(async move {
                shutdown.run_until_cancelled(hand_out(answers, &waiting)).await;
                waiting.askers.lock().clear();
            });
        }
        Ok(inboxes)
    }
}

fn ended() -> BusError {
    BusError::Unavailable("the client has ended".to_owned())
}

/// The answer to whoever waits for it still; a late or a second one is nobody's.
async fn hand_out(mut answers: Subscriber, waiting: &Waiting) {
    while let Some(answer) = answers.next().await {
        let number = answer.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let asker = number.and_then(|number: u64| waiting.askers.lock().remove(&number));
        match asker {
            // One that gives up at this moment needs it no more.
            Some(asker) => drop(asker.send(answer)),
            None => tracing::debug!("an answer that nobody waits for"),
        }
    }
}

/// A place among those who wait, given up when dropped.
struct Place<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Waiting {
    fn enter(&self, number: u64) -> (Place<'_>, oneshot::Receiver<Message>) {
        let (asker, answer) = oneshot::channel();
        self.askers.lock().insert(number, asker);
        self.count.increment(1.0);
        let place = Place { waiting: self, number };
        (place, answer)
    }
}

impl Place<'_> {
    /// Where its answer is to come.
    fn reply(&self, inboxes: &[String]) -> String {
        let turn = usize::try_from(self.number % INBOXES).unwrap_or_default();
        format!("{}.{}", inboxes[turn], self.number)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.askers.lock().remove(&self.number);
        self.waiting.count.decrement(1.0);
    }
}
