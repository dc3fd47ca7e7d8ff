//! Many small questions of one kind, asked together. A lone question goes at once; where they come in a storm, they
//! gather for a moment and cost few requests.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

/// Between the beginnings of two batches. Nobody notices it, and at a thousand questions a second ten go together.
const SPACING: Duration = Duration::from_millis(10);

pub struct Batcher<Q, A> {
    /// Bounded by those who ask, each of whom waits for its answer.
    waiting: Mutex<Vec<(Q, oneshot::Sender<A>)>>,
    wake: Notify,
    /// Questions in one batch.
    size: usize,
    /// Batches under way at once.
    flights: Arc<Semaphore>,
}

impl<Q: Send + 'static, A: Send + 'static> Batcher<Q, A> {
    pub fn new(size: usize, flights: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            size,
            flights: Arc::new(Semaphore::new(flights)),
        }
    }

    /// None: the node is ending.
    pub async fn ask(&self, question: Q) -> Option<A> {
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().push((question, sender));
        self.wake.notify_one();
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
            let (questions, askers) = self.next_batch(last + SPACING).await;
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
        loop {
            {
                let mut waiting = self.waiting.lock();
                waiting.retain(|(_, asker)| !asker.is_closed());
                let count = waiting.len().min(self.size);
                if count == self.size || (count > 0 && Instant::now() >= earliest) {
                    return waiting.drain(..count).unzip();
                }
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(earliest), if Instant::now() < earliest => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_meanwhile_is_asked_together() {
        let batcher = Arc::new(Batcher::<u32, u32>::new(100, 1));
        let tasks = TaskTracker::new();
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (at_work, seen, tracker) = (batcher.clone(), sizes.clone(), tasks.clone());
        let work = tokio::spawn(async move {
            at_work
                .run(&tracker, |questions| {
                    seen.lock().push(questions.len());
                    async move {
                        tokio::task::yield_now().await;
                        questions.into_iter().map(|question| question * 2).collect()
                    }
                })
                .await;
        });
        let asking = (0..500).map(|question| {
            let batcher = batcher.clone();
            async move { assert_eq!(batcher.ask(question).await, Some(question * 2)) }
        });
        futures_util::future::join_all(asking).await;
        work.abort();
        let sizes = sizes.lock();
        assert_eq!(sizes.iter().sum::<usize>(), 500);
        assert!(sizes.len() <= 6, "{sizes:?}");
    }
}
