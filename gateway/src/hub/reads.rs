//! Reading the log for those who catch up. After a node's death thousands ask for the same: one read serves all who ask
//! while it is under way, and those who come within a moment.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use dashmap::DashMap;
use herald_proto::Target;
use herald_router::bus::{BusError, Log, Page};
use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::Instant};

/// Messages in one read.
pub(super) const PAGE: usize = 256;
/// How long a read serves others. What has come since they read next.
const FRESH: Duration = Duration::from_secs(1);
/// Bytes of all pages that are kept.
const KEPT: usize = 32 << 20;

type Place = (Target, u64);

#[derive(Default)]
pub(super) struct Reads {
    pages: DashMap<Place, Arc<OnceCell<Arc<Page>>>>,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    order: VecDeque<(Instant, Place, usize)>,
    bytes: usize,
}

impl Reads {
    /// Up to a page of `target` after `after`, perhaps of a moment ago.
    pub async fn read(&self, log: &dyn Log, target: &Target, after: u64) -> Result<Arc<Page>, BusError> {
        self.forget(Instant::now());
        let place = (target.clone(), after);
        let cell = self.pages.entry(place.clone()).or_default().clone();
        let mut first = false;
        let page = cell
            .get_or_try_init(async || {
                first = true;
                log.read(target, after, PAGE).await.map(Arc::new)
            })
            .await?;
        if first && page.entries.is_empty() {
            // Not yet: the next one asks again.
            self.pages.remove(&place);
        } else if first {
            self.keep(place, page);
        }
        Ok(page.clone())
    }

    fn keep(&self, place: Place, page: &Page) {
        let bytes = page.entries.iter().map(|entry| entry.payload.len() + 128).sum();
        let mut done = self.done.lock();
        done.bytes += bytes;
        done.order.push_back((Instant::now(), place, bytes));
    }

    fn forget(&self, now: Instant) {
        let mut done = self.done.lock();
        while let Some((at, ..)) = done.order.front()
            && (now.duration_since(*at) > FRESH || done.bytes > KEPT)
        {
            if let Some((_, place, bytes)) = done.order.pop_front() {
                done.bytes -= bytes;
                self.pages.remove(&place);
            }
        }
    }

    /// Nothing that was read before counts any more.
    pub fn clear(&self) {
        self.pages.clear();
        *self.done.lock() = Done::default();
    }

    /// Called now and then, so that nothing stays where nobody reads.
    pub fn tidy(&self) {
        self.forget(Instant::now());
        if self.done.lock().order.is_empty() {
            // What is left was never read: the log was away.
            self.pages.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
    }
}
