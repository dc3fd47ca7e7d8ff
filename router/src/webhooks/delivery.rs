//! Delivering to one webhook, from where it was left.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::subject;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{
    pace::{Next, Pace},
    request::Sender,
};
use crate::{
    bus::{Bucket, Bus, BusError, EventEntry},
    config::WebhookSettings,
    metrics,
};

/// How soon what was not heard of is found.
const LOOK: Duration = Duration::from_secs(1);
/// Events that are read at once.
const PAGE: usize = 500;
/// Bytes of one request; one event passes alone, however large.
const BYTES: usize = 512 << 10;
/// What nobody wants moves the place as well, but not with each.
const KEEP: Duration = Duration::from_secs(5);
/// Between tries to keep the place or to park, while the bus is away.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Delivery<'a> {
    bus: &'a Bus,
    settings: Arc<WebhookSettings>,
    /// Any event's subject.
    hints: String,
    place: Place,
    pace: Pace,
}

/// Up to where events have been delivered.
struct Place {
    key: String,
    epoch: String,
    sequence: u64,
    /// 0: it was never kept.
    revision: u64,
    kept: Instant,
}

impl<'a> Delivery<'a> {
    pub async fn begin(
        bus: &'a Bus,
        hints: String,
        settings: &Arc<WebhookSettings>,
        since_ms: u64,
    ) -> Result<Self, BusError> {
        Ok(Self {
            bus,
            hints,
            place: Place::find(bus, &settings.name, since_ms).await?,
            pace: Pace::new(settings),
            settings: settings.clone(),
        })
    }

    pub async fn run(mut self, sender: &Sender) -> Result<(), BusError> {
        // Only a hint that there is something to read.
        let mut heard = self.bus.pubsub.subscribe(&self.hints).await?;
        loop {
            let page = self.bus.events.read(self.place.sequence, PAGE).await?;
            if page.is_empty() {
                self.follow_epoch().await?;
                let _heard = timeout(LOOK, heard.next()).await.is_ok();
                while heard.try_next().is_some() {}
                continue;
            }
            self.tell_lost(&page);
            self.deliver(&page, sender).await?;
        }
    }

    /// All of a page, in order.
    async fn deliver(&mut self, page: &[EventEntry], sender: &Sender) -> Result<(), BusError> {
        let mut rest = page;
        while let Some(first) = rest.first() {
            if !self.wants(first) {
                self.place.sequence = first.sequence;
                rest = &rest[1..];
                if self.place.kept.elapsed() >= KEEP {
                    self.keep().await?;
                }
                continue;
            }
            let (events, upto) = self.batch(rest);
            let begun = Instant::now();
            let outcome = sender.send(&events).await;
            metrics::webhook(&self.settings.name, outcome.as_str(), events.len(), begun.elapsed());
            match self.pace.after(outcome, events.len(), Instant::now().into_std()) {
                Next::Again(pause) => {
                    sleep(pause).await;
                    continue;
                }
                Next::Park => self.park(&events[0]).await?,
                Next::GoOn => {}
            }
            self.place.sequence = upto;
            self.keep().await?;
            let passed = rest.iter().take_while(|event| event.sequence <= upto).count();
            rest = &rest[passed..];
        }
        Ok(())
    }

    fn wants(&self, event: &EventEntry) -> bool {
        let wanted = self.settings.events.as_ref();
        wanted.is_none_or(|kinds| kinds.iter().any(|kind| kind.as_str() == event.kind))
    }

    /// As many of the next as the pace allows, without those between them that nobody wants; and up to where they reach.
    fn batch(&self, rest: &[EventEntry]) -> (Vec<EventEntry>, u64) {
        let (mut events, mut bytes, mut upto) = (Vec::new(), 0, 0);
        for event in rest {
            if self.wants(event) {
                bytes += event.payload.len();
                if events.len() == self.pace.size() || (!events.is_empty() && bytes > BYTES) {
                    break;
                }
                events.push(event.clone());
            }
            upto = event.sequence;
        }
        (events, upto)
    }

    async fn park(&self, event: &EventEntry) -> Result<(), BusError> {
        warn!(
            webhook = self.settings.name,
            "an event could not be delivered: it is parked"
        );
        let id = format!("{}.{}.{}", self.settings.name, self.place.epoch, event.sequence);
        while let Err(error) = self
            .bus
            .events
            .park(&self.settings.name, &id, event.payload.clone())
            .await
        {
            if !matches!(error, BusError::Timeout | BusError::Unavailable(_)) {
                return Err(error);
            }
            sleep(RETRY).await;
        }
        metrics::webhook_parked(&self.settings.name);
        Ok(())
    }

    /// Events that were too old or too much before they could be delivered.
    fn tell_lost(&self, page: &[EventEntry]) {
        let next = self.place.sequence + 1;
        let lost = page.first().map_or(0, |first| first.sequence.saturating_sub(next));
        if lost > 0 && self.place.sequence > 0 {
            warn!(
                webhook = self.settings.name,
                lost, "events were no longer kept when they could be delivered"
            );
            metrics::webhook_lost(&self.settings.name, lost);
        }
    }

    /// Where the events were emptied, they begin at 1 again.
    async fn follow_epoch(&mut self) -> Result<(), BusError> {
        let bounds = self.bus.events.bounds().await?;
        if bounds.epoch != self.place.epoch || bounds.last < self.place.sequence {
            warn!(webhook = self.settings.name, "the events begin anew");
            self.place.epoch = bounds.epoch;
            self.place.sequence = 0;
        }
        if self.place.kept.elapsed() >= KEEP {
            self.keep().await?;
        }
        Ok(())
    }

    /// Fails with `Conflict` where another router has kept its own.
    async fn keep(&mut self) -> Result<(), BusError> {
        let value = Bytes::from(format!("{} {}", self.place.epoch, self.place.sequence));
        let (kv, place) = (&self.bus.kv, &mut self.place);
        loop {
            let kept = match place.revision {
                0 => kv.create(Bucket::Hooks, &place.key, value.clone(), None).await,
                revision => {
                    kv.update(Bucket::Hooks, &place.key, value.clone(), revision, None)
                        .await
                }
            };
            match kept {
                Ok(revision) => {
                    place.revision = revision;
                    place.kept = Instant::now();
                    return Ok(());
                }
                // An earlier one may have been stored although it seemed to fail.
                Err(BusError::Conflict) => match kv.get_latest(Bucket::Hooks, &place.key).await? {
                    Some(entry) if entry.value == value => place.revision = entry.revision,
                    _ => return Err(BusError::Conflict),
                },
                // The lease decides for how long this goes on.
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

impl Place {
    async fn find(bus: &Bus, webhook: &str, since_ms: u64) -> Result<Self, BusError> {
        let key = subject::key(&[webhook, "place"]);
        let standing = bus.kv.get_latest(Bucket::Hooks, &key).await?;
        let bounds = bus.events.bounds().await?;
        let mut place = Self {
            key,
            sequence: 0,
            revision: standing.as_ref().map_or(0, |entry| entry.revision),
            kept: Instant::now(),
            epoch: bounds.epoch,
        };
        let known = standing.as_ref().and_then(|entry| parsed(&entry.value));
        place.sequence = match known {
            Some((epoch, sequence)) if epoch == place.epoch => sequence,
            // Of other events than these: all of these are new.
            Some(_) => 0,
            None => match bus.events.first_since(since_ms).await? {
                Some(first) => first - 1,
                None => bounds.last,
            },
        };
        Ok(place)
    }
}

fn parsed(value: &[u8]) -> Option<(String, u64)> {
    let (epoch, sequence) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some((epoch.to_owned(), sequence.parse().ok()?))
}
