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

/// How often one who must have what is newest shares in reads of others.
const TRIES: usize = 4;

type Place = (Target, u64);
type Cell = Arc<OnceCell<Arc<Page>>>;

#[derive(Default)]
pub(super) struct Reads {
    pages: DashMap<Place, Cell>,
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
        Ok(self.shared(log, target, after).await?.0)
    }

    /// The same, but no older page that ends before `newest`, which the log is known to have: what stood behind it may be
    /// trimmed since, and would seem to be lost behind one's back.
    pub async fn read_until(
        &self,
        log: &dyn Log,
        target: &Target,
        after: u64,
        newest: u64,
    ) -> Result<Arc<Page>, BusError> {
        for _ in 1..TRIES {
            let (page, own) = self.shared(log, target, after).await?;
            let last = page.entries.last().map_or(0, |entry| entry.sequence);
            if own || page.left > 0 || last >= newest {
                return Ok(page);
            }
            let place = (target.clone(), after);
            let is_this = |_: &Place, cell: &Cell| cell.get().is_some_and(|other| Arc::ptr_eq(other, &page));
            self.pages.remove_if(&place, is_this);
        }
        self.read(log, target, after).await
    }

    /// What was read there turned out to lack something.
    pub fn drop_page(&self, target: &Target, after: u64) {
        self.pages.remove(&(target.clone(), after));
    }

    /// True where it was read for this question.
    async fn shared(&self, log: &dyn Log, target: &Target, after: u64) -> Result<(Arc<Page>, bool), BusError> {
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
        Ok((page.clone(), first))
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use herald_router::bus::{LogLimits, memory};

    use super::*;

    /// Five messages that were read, and others that came since.
    async fn read_and_grown() -> (Arc<dyn Log>, Reads, Target) {
        let limits = LogLimits {
            max_age: Duration::from_secs(3600),
            max_messages_per_target: 20,
            max_bytes: 1 << 20,
            replicas: None,
        };
        let (log, reads, ann) = (memory::bus(limits).log, Reads::default(), Target::user("ann"));
        for n in 1..=30 {
            log.append(&ann, Bytes::new(), &n.to_string()).await.unwrap();
            if n == 5 {
                reads.read(log.as_ref(), &ann, 0).await.unwrap();
            }
        }
        (log, reads, ann)
    }

    fn ends(page: &Page) -> (u64, u64) {
        let sequences: Vec<u64> = page.entries.iter().map(|entry| entry.sequence).collect();
        (sequences[0], sequences[sequences.len() - 1])
    }

    #[tokio::test]
    async fn a_page_is_shared_unless_more_is_known_to_be_there() {
        let (log, reads, ann) = read_and_grown().await;
        let log = log.as_ref();
        assert_eq!(ends(&reads.read(log, &ann, 0).await.unwrap()), (1, 5));
        assert_eq!(ends(&reads.read_until(log, &ann, 0, 5).await.unwrap()), (1, 5));
        assert_eq!(ends(&reads.read_until(log, &ann, 0, 30).await.unwrap()), (11, 30));
        assert_eq!(ends(&reads.read(log, &ann, 0).await.unwrap()), (11, 30));
    }

    #[tokio::test]
    async fn a_page_that_lacks_something_is_read_afresh() {
        let (log, reads, ann) = read_and_grown().await;
        reads.drop_page(&ann, 0);
        assert_eq!(ends(&reads.read(log.as_ref(), &ann, 0).await.unwrap()), (11, 30));
    }
}
