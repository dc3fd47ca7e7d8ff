//! In what order one connection's commands are carried out: `send`, `join` and `leave` one after another, the others
//! beside them, a bounded number at once.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use herald_proto::limits::CONCURRENT_COMMANDS;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ordered commands that may wait; then the reader stops reading, which holds the client back.
const WAITING: usize = 64;

/// Made with a connection's first command: an idle one has none.
pub struct Lanes {
    tasks: TaskTracker,
    ordered: Arc<Mutex<Ordered>>,
    room: Arc<Semaphore>,
    beside: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Cancels what nobody will hear of.
    end: CancellationToken,
    _ends: DropGuard,
}

#[derive(Default)]
struct Ordered {
    queue: VecDeque<Job>,
    running: bool,
}

impl Lanes {
    pub fn new(tasks: TaskTracker) -> Self {
        let end = CancellationToken::new();
        Self {
            _ends: end.clone().drop_guard(),
            end,
            tasks,
            ordered: Arc::default(),
            room: Arc::new(Semaphore::new(WAITING)),
            beside: Arc::new(Semaphore::new(CONCURRENT_COMMANDS)),
            large: Arc::new(Semaphore::new(1)),
        }
    }

    /// Carries `job` out after all that were put here before. Waits for room.
    pub async fn in_order(&self, job: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = self.room.clone().acquire_owned().await else {
            return; // the semaphore is never closed
        };
        let job: Job = Box::pin(async move {
            job.await;
            drop(permit);
        });
        let start = {
            let mut ordered = self.ordered.lock();
            ordered.queue.push_back(job);
            !std::mem::replace(&mut ordered.running, true)
        };
        if start {
            self.tasks.spawn(run(self.ordered.clone()));
        }
    }

    /// Whose answers may each fill half of an outbox take turns, so that no connection makes us hold many of them.
    pub fn large(&self) -> Arc<Semaphore> {
        self.large.clone()
    }

    /// Cancelled when the lanes are dropped, at the connection's end.
    pub fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Carries `job` out beside all others. Waits for room.
    pub async fn beside(&self, job: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = self.beside.clone().acquire_owned().await else {
            return; // the semaphore is never closed
        };
        self.tasks.spawn(async move {
            job.await;
            drop(permit);
        });
    }
}

/// Works until nothing waits.
async fn run(ordered: Arc<Mutex<Ordered>>) {
    loop {
        let job = {
            let mut ordered = ordered.lock();
            let Some(job) = ordered.queue.pop_front() else {
                ordered.running = false;
                return;
            };
            job
        };
        job.await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn ordered_commands_keep_their_order_and_others_pass_them() {
        let tasks = TaskTracker::new();
        let lanes = Lanes::new(tasks.clone());
        let done = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        for i in 0..50 {
            let (done, gate) = (done.clone(), gate.clone());
            lanes
                .in_order(async move {
                    if i == 0 {
                        gate.acquire().await.unwrap().forget();
                    }
                    done.lock().push(i);
                })
                .await;
        }
        let beside = done.clone();
        lanes.beside(async move { beside.lock().push(1000) }).await;
        while done.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gate.add_permits(1);
        tasks.close();
        tasks.wait().await;
        let expected: Vec<i32> = std::iter::once(1000).chain(0..50).collect();
        assert_eq!(*done.lock(), expected);
    }
}
