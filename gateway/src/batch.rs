//! Many small questions of one kind, asked together. A lone question goes at once; where they come in a storm, they
//! gather and cost few requests.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    task::yield_now,
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

/// Between the beginnings of two batches. Nobody notices it, and at a thousand questions a second ten go together.
const SPACING: Duration = Duration::from_millis(10);

/// What a batch may hold, and when it goes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Questions in one batch.
    pub questions: usize,
    /// All of them together, as they are weighed; one that weighs more goes alone.
    pub weight: usize,
    /// Batches under way at once.
    pub flights: usize,
    /// Between the beginnings of two batches. Zero: whatever has come while the thread was busy goes together.
    pub spacing: Duration,
}

impl Limits {
    /// Of questions that nobody minds to wait a moment for.
    pub const fn spaced(questions: usize, flights: usize) -> Self {
        Self {
            questions,
            weight: usize::MAX,
            flights,
            spacing: SPACING,
        }
    }
}

pub struct Batcher<Q, A> {
    /// Bounded by those who ask, each of whom waits for its answer.
    waiting: Mutex<VecDeque<Asked<Q, A>>>,
    wake: Notify,
    limits: Limits,
    weigh: fn(&Q) -> usize,
    flights: Arc<Semaphore>,
}

struct Asked<Q, A> {
    question: Q,
    asker: oneshot::Sender<A>,
}

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    pub fn new(limits: Limits, weigh: fn(&Q) -> usize) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            flights: Arc::new(Semaphore::new(limits.flights)),
            limits,
            weigh,
        }
    }

    /// None: the node is ending.
    pub async fn ask(&self, question: Q) -> Option<A> {
        let (asker, answer) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.lock();
            waiting.push_back(Asked { question, asker });
            // Who gathers looks again before it sleeps.
            waiting.len() == 1 || waiting.len() == self.limits.questions
        };
        if first {
            self.wake.notify_one();
        }
        answer.await.ok()
    }

    /// Works until dropped. `answer` gives one answer for each question, in order.
    pub async fn run<F, Fut>(&self, tasks: &TaskTracker, answer: F)
    where
        F: Fn(Vec<Q>) -> Fut,
        Fut: Future<Output = Vec<A>> + Send + 'static,
    {
        let mut last = Instant::now();
        loop {
            let Ok(flight) = self.flights.clone().acquire_owned().await else {
                return; // the semaphore is never closed
            };
            let (questions, askers) = self.next_batch(last + self.limits.spacing).await;
            last = Instant::now();
            let answering = answer(questions);
            tasks.spawn(async move {
                for (asker, answer) in askers.into_iter().zip(answering.await) {
                    // One who no longer waits has given up.
                    let _ = asker.send(answer);
                }
                drop(flight);
            });
        }
    }

    /// Not before `earliest`, unless a whole batch is waiting.
    async fn next_batch(&self, earliest: Instant) -> (Vec<Q>, Vec<oneshot::Sender<A>>) {
        // Whatever else has come by now is served first: it may have a question too.
        yield_now().await;
        loop {
            if let Some(batch) = self.take(Instant::now() >= earliest) {
                return batch;
            }
            let some = !self.waiting.lock().is_empty();
            tokio::select! {
                () = self.wake.notified() => yield_now().await,
                () = sleep_until(earliest), if some => {}
            }
        }
    }

    /// None: nothing is to go yet. `due`: even less than a whole batch.
    fn take(&self, due: bool) -> Option<(Vec<Q>, Vec<oneshot::Sender<A>>)> {
        let mut waiting = self.waiting.lock();
        waiting.retain(|asked| !asked.asker.is_closed());
        if waiting.is_empty() || (waiting.len() < self.limits.questions && !due) {
            return None;
        }
        let mut weight = 0;
        let fit = waiting.iter().take(self.limits.questions).take_while(|asked| {
            weight += (self.weigh)(&asked.question);
            weight <= self.limits.weight
        });
        let count = fit.count().max(1);
        Some(
            waiting
                .drain(..count)
                .map(|asked| (asked.question, asked.asker))
                .unzip(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_meanwhile_is_asked_together() {
        let sizes = sizes_of(500, Limits::spaced(100, 1), |_| 1).await;
        assert!(sizes.len() <= 6, "{sizes:?}");
    }

    #[tokio::test]
    async fn without_spacing_what_has_come_goes_together_and_as_much_as_fits() {
        let limits = Limits {
            questions: 100,
            weight: 60,
            flights: 100,
            spacing: Duration::ZERO,
        };
        assert_eq!(sizes_of(50, limits, |_| 1).await, [50]);
        assert_eq!(sizes_of(130, limits, |_| 1).await, [60, 60, 10]);
        // The last weighs more than a batch may.
        let sizes = sizes_of(61, limits, |question| if *question == 60 { 1_000 } else { 1 }).await;
        assert_eq!(sizes, [60, 1]);
    }

    async fn sizes_of(count: u32, limits: Limits, weigh: fn(&u32) -> usize) -> Vec<usize> {
        let batcher = Arc::new(Batcher::<u32, u32>::new(limits, weigh));
        let tasks = TaskTracker::new();
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (at_work, seen, tracker) = (batcher.clone(), sizes.clone(), tasks.clone());
        let work = tokio::spawn(async move {
            at_work
                .run(&tracker, |questions| {
                    seen.lock().push(questions.len());
                    async move {
                        yield_now().await;
                        questions.into_iter().map(|question| question * 2).collect()
                    }
                })
                .await;
        });
        let asking = (0..count).map(|question| {
            let batcher = batcher.clone();
            async move { assert_eq!(batcher.ask(question).await, Some(question * 2)) }
        });
        futures_util::future::join_all(asking).await;
        work.abort();
        let sizes = sizes.lock().clone();
        assert_eq!(sizes.iter().sum::<usize>(), count as usize);
        sizes
    }
}
